"""Readers of images and their segments, which datasets share; one is for segments in a json of COCO's format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from coatseg.data.annotations.classes import LARGEST_NUMBER, first_repeated, generated_palette
from coatseg.data.annotations.panoptic import Category, PanopticAnnotations
from coatseg.data.annotations.segment_maps import SegmentMap, SegmentMaps, WithoutPixels, instances_of_segments
from coatseg.data.images.reading import read_image
from coatseg.data.readers.mask_files import SemanticFiles, check_mask_is_there, check_mask_size
from coatseg.data.readers.official import official_classes
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import DatasetError
from coatseg.structures import IGNORE_INDEX, Colour, DatasetInfo, Pixels, Sample

OBJECTS = ("boxes", "instances")
"""What a dataset annotates too whose things are read as objects."""


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


class JsonSegments(PanopticFiles):
    """Reads pairs of an image and its PNG of segments, which are among those of a panoptic json, in the folder `pngs`.

    Classes are the json's categories, numbered from 0 in its order, in the colours that it states, else those of COCO's
    classes of the same name. With `instances` things are objects with masks too. For `without_pixels` see SegmentMaps.

    Raises:
        DatasetError: the json has no category, or two of one name.
    """

    def __init__(
        self,
        name: str,
        annotations: PanopticAnnotations,
        pairs: Sequence[MaskedImage],
        pngs: Path,
        *,
        instances: bool = False,
        without_pixels: WithoutPixels = "stop",
    ) -> None:
        names = tuple(category.name for category in annotations.categories)
        twice = first_repeated(names)
        if not names or twice is not None:
            wrong = "no category" if twice is None else f"two categories called {twice}"
            raise DatasetError(f"{annotations.path} has {wrong}.", annotations.mend)
        info = DatasetInfo(
            name=name,
            classes=names,
            palette=_palette(annotations.categories),
            annotates=frozenset({"semantic", "panoptic", *(OBJECTS if instances else ())}),
            ignore_index=IGNORE_INDEX if len(names) <= IGNORE_INDEX else LARGEST_NUMBER,
            things=tuple(label for label, category in enumerate(annotations.categories) if category.is_thing),
            category_ids=tuple(category.id for category in annotations.categories),
        )
        self._maps = SegmentMaps(annotations, pngs, info.ignore_index, without_pixels)
        super().__init__(info, pairs, self._maps)

    def has_objects(self, index: int) -> bool:
        """Return whether a sample has a thing that is no crowd."""
        segments = self._maps.segments(self._pairs[index].mask)
        return any(segment.label in self.info.things and not segment.crowd for segment in segments)


def _palette(categories: Sequence[Category]) -> tuple[Colour, ...]:
    """Return the json's colours; COCO's own json states none, so by name those that COCO publishes with it."""
    published = dict(zip(*official_classes("coco_panoptic"), strict=True))
    made = generated_palette(len(categories))
    return tuple(
        category.colour or published.get(category.name, colour)
        for category, colour in zip(categories, made, strict=True)
    )
