"""The masks of annotations in COCO's form: which there are, which are boxes only, and which lie where they should."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.objects.columns import Entries, Place, unfitting
from coatseg.data.annotations.objects.segmentations import SegmentationColumn, SegmentationError, Segmentations

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Boxes = npt.NDArray[np.float64]

LEAST_OVERLAP = 0.1
"""The share of box and polygons together that both cover, below which they are not of one object; COCO's own have 1."""


@dataclass(frozen=True)
class EntryMasks:
    """The masks of A annotations: which are `there`, and which `lost` since their polygons are too short, (A,) bool.

    `short` holds, for each polygon that is too short, the number of its annotation.
    """

    segmentations: Segmentations
    there: Flags
    lost: Flags
    short: Numbers


def has_segmentation(annotations: Entries) -> Flags:
    """Return which annotations state a mask, (A,), whether it makes sense or not."""
    return np.array([bool(annotation.get("segmentation")) for annotation in annotations], bool)


def masks_of_entries(
    path: Path, annotations: Entries, sizes: Numbers, place: Place, rectangles: Boxes | None = None
) -> EntryMasks:
    """Collect the masks of annotations in images of `sizes` (A, 2).

    Those that state none get their `rectangles` (A, 4) as masks, if given.

    Raises:
        DatasetError: a mask makes no sense.
    """
    column = SegmentationColumn()
    try:
        there = [
            column.add(_segmentation(annotation, number, rectangles), (height, width))
            for number, (annotation, (height, width)) in enumerate(zip(annotations, sizes.tolist(), strict=True))
        ]
        segmentations = column.collected()
    except SegmentationError as error:
        raise unfitting(path, place(error.number), error.what) from error
    short = np.array(column.short_polygons, np.int64)
    masked = np.array(there, bool)
    lost = np.zeros(len(annotations), bool)
    lost[short] = True
    return EntryMasks(segmentations, masked, lost & ~masked, short)


def _segmentation(annotation: dict[str, Any], number: int, rectangles: Boxes | None) -> Any:
    stated = annotation.get("segmentation")
    if rectangles is None or stated:
        return stated
    x1, y1, x2, y2 = rectangles[number].tolist()
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def misplaced(masks: EntryMasks, boxes: Boxes) -> Numbers:
    """Return the numbers of annotations whose polygons are not where their box (A, 4) is, as those of another scale."""
    extents = masks.segmentations.extents()
    first, last = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    common = (np.minimum(extents[:, 2:], last) - np.maximum(extents[:, :2], first)).clip(0).prod(1)
    joined = (extents[:, 2:] - extents[:, :2]).prod(1) + (last - first).prod(1) - common
    return np.flatnonzero(common < LEAST_OVERLAP * joined)  # of NaN, where there is no box or polygon, it is false
