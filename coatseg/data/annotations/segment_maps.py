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
from coatseg.structures import Instances, Panoptic, Pixels, Segment, Size

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
    padded = np.zeros((*pixels.shape[:2], 4), np.uint8)
    padded[..., :3] = pixels[..., :3]
    return padded.view("<i4")[..., 0].astype(np.int32, copy=False)


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
        segments = self.segments(path)
        runs = _Runs.of(ids, [segment.id for segment in segments])
        if runs.unknown is not None:
            y, x = runs.unknown
            raise DatasetError(
                f"{path} has the segment {ids[y, x]}, first at (x={x}, y={y}), which {self.annotations.path} "
                "does not know.",
                self.annotations.mend,
            )
        label_map = runs.painted([segment.label for segment in segments], self.ignore_index)
        return SegmentMap(Panoptic(ids, self._kept(path, segments, runs.there)), label_map)

    def segments(self, path: Path) -> tuple[Segment, ...]:
        """Return the segments that the json lists for a PNG."""
        return self.annotations.segments(path.relative_to(self.folder).as_posix())

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


def labels_of_segments(panoptic: Panoptic, ignore_index: int) -> Pixels:
    """Return the label map (H, W) of segments: their classes, and the ignore index where there is none.

    Ids that are not listed count as none.
    """
    segments = panoptic.segments
    runs = _Runs.of(panoptic.ids, [segment.id for segment in segments])
    return runs.painted([segment.label for segment in segments], ignore_index)


@dataclass(frozen=True)
class _Runs:
    """The runs of equal pixels of an id map along its rows, R of them, of which there are far fewer than pixels.

    lengths (R,) in pixels; places (R,) of their ids among N known ones, N for void and unknown ids; `unknown` is the
    (y, x) of the first pixel of an id that is neither, None if there is none; `there` are the known ids that are seen.
    """

    size: Size
    lengths: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    unknown: tuple[int, int] | None
    there: set[int]

    @classmethod
    def of(cls, ids: npt.NDArray[np.int32], known: Sequence[int]) -> _Runs:
        """Find the runs of a map (H, W), and the places of their ids among the `known` ones."""
        flat = ids.ravel()
        starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
        values = flat[starts]
        order = np.argsort(np.array([*known, 0]))
        keys = np.array([*known, 0])[order]
        sorted_places = np.searchsorted(keys, values).clip(max=len(keys) - 1)
        stranger = keys[sorted_places] != values
        places = np.where(stranger, len(known), order[sorted_places])
        first = int(starts[stranger.argmax()]) if stranger.any() else None
        return cls(
            (ids.shape[0], ids.shape[1]),
            np.diff(starts, append=flat.size),
            places,
            None if first is None else divmod(first, ids.shape[1]),
            set(keys[np.unique(sorted_places[~stranger])].tolist()),
        )

    def painted(self, labels: Sequence[int], rest: int) -> Pixels:
        """Return a map (H, W) of the labels of the known ids, and `rest` elsewhere, in the least type for these."""
        table = np.array([*labels, rest])
        table = table.astype(np.uint8 if table.min() >= 0 and table.max() < 256 else np.int32)
        return np.repeat(table[self.places], self.lengths).reshape(self.size)


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
