"""The reader of images and their segments, which the datasets with panoptic truth share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from coatseg.data.annotations.segment_maps import SegmentMap, instances_of_segments
from coatseg.data.images.reading import read_image
from coatseg.data.readers.mask_files import SemanticFiles, check_mask_is_there, check_mask_size
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.structures import DatasetInfo, Pixels, Sample


class PanopticFiles(SemanticFiles):
    """Reads pairs of an image and a file of its segments as samples with panoptic truth and with label maps of it.

    `read_segments` reads the segments of a file, given its path; it is decoded once for both truths. Where the facts
    annotate instances, things are objects with masks too.
    """

    def __init__(
        self, info: DatasetInfo, pairs: Sequence[MaskedImage], read_segments: Callable[[Path], SegmentMap]
    ) -> None:
        super().__init__(info, pairs, self._label_map)
        self._read_segments = read_segments

    def _label_map(self, path: Path) -> Pixels:
        return self._read_segments(path).label_map

    def _read(self, pair: MaskedImage) -> Sample:
        image = read_image(pair.image, self.info.channels)
        check_mask_is_there(pair)
        read = self._read_segments(pair.mask)
        check_mask_size(pair, read.label_map.shape, (image.shape[0], image.shape[1]))
        sample = replace(self._sample(pair, pair.id, image, read.label_map), panoptic=read.panoptic)
        if "instances" not in self.info.annotates:
            return sample
        return replace(sample, instances=instances_of_segments(read.panoptic, self.info.things))
