"""Maps of segment ids, as panoptic PNG files hold them: read, checked against their segments, and labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.id_maps import masks_of, objects_of
from coatseg.data.annotations.panoptic import EXPORT_AGAIN, PanopticAnnotations
from coatseg.data.images.reading import read_image
from coatseg.data.images.statements.palettes import read_palette
from coatseg.errors import DatasetError
from coatseg.structures import Instances, Panoptic, Pixels, Segment

WithoutPixels = Literal["stop", "leave_out", "keep"]
"""What is done about a segment of a json that no pixel of its PNG has."""


@dataclass(frozen=True)
class SegmentMap:
    """The segments of an image and the label map (H, W) of their classes, the ignore index where there is none."""

    panoptic: Panoptic
    label_map: Pixels


def read_segment_ids(path: Path, mend: str = EXPORT_AGAIN) -> npt.NDArray[np.int32]:
    """Read the segment ids (H, W) of a PNG, R + 256 G + 65536 B; 0 is void, and an alpha channel is left out.

    `mend` says in errors where to take a right one from.

    Raises:
        ImageError: it cannot be read.
        DatasetError: it is not an 8-bit colour picture; colours of a palette, which may be reduced ones, are refused.
    """
    pixels = read_image(path)
    coloured = pixels.dtype == np.uint8 and pixels.shape[2] in (3, 4)
    if not coloured or read_palette(path):
        kind = "a palette" if coloured else f"{pixels.shape[2]} channels of {pixels.dtype}"
        raise DatasetError(f"{path} has {kind}: segment ids are coded in RGB of 8 bit.", mend)
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return np.asarray(red + 256 * green + 65536 * blue)


@dataclass(frozen=True)
class SegmentMaps:
    """Reads the panoptic PNG files in `folder` with the segments that a json names, crowds too, in the json's order.

    Label maps have `ignore_index` for void. `without_pixels` says what is done about a segment that the PNG lacks:
    "stop", "leave_out", or "keep" it among the segments, where it counts as missed, as in panopticapi.
    """

    annotations: PanopticAnnotations
    folder: Path
    ignore_index: int
    without_pixels: WithoutPixels = "stop"

    def __call__(self, path: Path) -> SegmentMap:
        """Read one PNG.

        Raises:
            ImageError: it cannot be read.
            DatasetError: it is not an 8-bit RGB picture, has a segment that the json does not list, or lacks one.
        """
        ids = read_segment_ids(path, self.annotations.mend)
        segments = self.annotations.segments(path.relative_to(self.folder).as_posix())
        keys, labels = _sorted_labels(segments, self.ignore_index)
        places = np.searchsorted(keys, ids).clip(max=len(keys) - 1)
        unknown = keys[places] != ids
        if unknown.any():
            y, x = np.unravel_index(unknown.argmax(), unknown.shape)
            raise DatasetError(
                f"{path} has the segment {ids[y, x]}, first at (x={x}, y={y}), which {self.annotations.path} "
                "does not know.",
                self.annotations.mend,
            )
        there = set(keys[np.bincount(places.ravel(), minlength=len(keys)) > 0].tolist())
        return SegmentMap(Panoptic(ids, self._kept(path, segments, there)), labels[places])

    def _kept(self, path: Path, segments: tuple[Segment, ...], there: set[int]) -> tuple[Segment, ...]:
        """Return the segments that count, of which those that are `there` have pixels."""
        bare = [segment for segment in segments if segment.id not in there]
        if not bare or self.without_pixels == "keep":
            return segments
        if self.without_pixels == "stop":
            more = f", and {len(bare) - 1} more like it" if len(bare) > 1 else ""
            name = self.annotations.categories[bare[0].label].name
            raise DatasetError(
                f"{self.annotations.path} has the segment {bare[0].id} ({name}), of which {path} has no pixel{more}.",
                "Take it out of the json, or set data.without_pixels=leave_out, or keep to count it as missed, as "
                "panopticapi does.",
            )
        return tuple(segment for segment in segments if segment.id in there)


def _sorted_labels(segments: Sequence[Segment], ignored: int) -> tuple[npt.NDArray[np.int32], Pixels]:
    """Return the ids of void and segments in ascending order, and their labels in the least type that holds them."""
    known = {0: ignored, **{segment.id: segment.label for segment in segments}}
    keys = sorted(known)
    labels = np.array([known[key] for key in keys])
    fits = labels.min() >= 0 and labels.max() < 256
    return np.array(keys, np.int32), labels.astype(np.uint8 if fits else np.int32)


def instances_of_segments(panoptic: Panoptic, things: Sequence[int]) -> Instances:
    """Return the segments of the classes `things` as objects, with tight boxes and masks, in ascending order of ids."""
    segments = {segment.id: segment for segment in panoptic.segments if segment.label in things}
    found, boxes = objects_of(panoptic.ids)
    kept = np.isin(found, list(segments))
    found, boxes = found[kept], boxes[kept]
    parts = [segments[number] for number in found.tolist()]
    return Instances(
        boxes,
        np.array([part.label for part in parts], np.int64),
        masks_of(panoptic.ids, found, boxes),
        np.array([part.crowd for part in parts], bool),
    )
