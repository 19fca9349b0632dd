"""The boxes of annotations in COCO's form: as they are stated, or of the masks where those know better."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coatseg.data.annotations.objects.columns import Place, unfitting
from coatseg.data.annotations.objects.mended_boxes import BOXES, check_not_fractions
from coatseg.data.annotations.objects.segmentations import SegmentationError
from coatseg.data.annotations.objects.stated_masks import Boxes, EntryMasks, Flags, Numbers

OBJECTS = ("object", "objects")
NEARLY_ALL = 0.95
SAMPLED = 500
"""How many masks of run lengths are looked at before all are."""

Finding = tuple[tuple[str, str], str, Numbers]
"""What was found (singular, plural), what was done, and the numbers of the annotations concerned."""


@dataclass(frozen=True)
class EntryBoxes:
    """The boxes (A, 4) of A annotations, NaN where there is none, and what was found with them."""

    boxes: Boxes
    findings: tuple[Finding, ...]


def boxes_of_entries(
    path: Path, stated: Boxes, masks: EntryMasks, crowd: Flags, sizes: Numbers, place: Place
) -> EntryBoxes:
    """Return the stated boxes, and those of the masks where none is stated, where it has no area or is too short.

    Some tools count the last pixel of a mask of run lengths as its edge, so that boxes end a pixel short both ways. It
    is told by that nearly all are so. Boxes of `crowd` (A,) stay: those of COCO's own are short too, and scored by.

    Raises:
        DatasetError: boxes or polygons are fractions of the image, or run lengths do not fill it.
    """
    check_not_fractions(path, "boxes", stated)
    check_not_fractions(path, "polygons", masks.segmentations.extents())
    absent = np.isnan(stated).any(1)
    flat = (stated[:, :2] == stated[:, 2:]).any(1)
    short = _short_boxes(stated, masks, masks.segmentations.coded & ~crowd, sizes)
    derived = np.flatnonzero((absent | flat) & masks.there | short)
    try:
        found = masks.segmentations.boxes(derived, sizes[derived])
    except SegmentationError as error:
        raise unfitting(path, place(error.number), error.what) from error
    boxes = stated.copy()
    seen = derived[found.any(1)]
    boxes[seen] = found[found.any(1)]
    taken = np.zeros(len(boxes), bool)
    taken[seen] = True
    unstated = np.flatnonzero(absent & taken)
    return EntryBoxes(
        boxes,
        (
            (BOXES, "without area taken from the mask", np.flatnonzero(flat & taken & ~short)),
            # Where none is stated at all, masks are what the file is of.
            (BOXES, "not stated taken from the mask", unstated if len(unstated) < len(boxes) else unstated[:0]),
            (BOXES, "a pixel short of the mask both ways taken from it", np.flatnonzero(short & taken)),
            (OBJECTS, "whose mask has no pixel left out", np.flatnonzero(absent & masks.there & ~taken)),
        ),
    )


def _short_boxes(stated: Boxes, masks: EntryMasks, coded: Flags, sizes: Numbers) -> Flags:
    """Return which boxes of `coded` masks, (A,), are too short by a pixel both ways, if nearly all of them are."""
    short = np.zeros(len(stated), bool)
    boxed = np.flatnonzero(coded & ~np.isnan(stated).any(1))
    for numbers in (boxed[:: 1 + len(boxed) // SAMPLED], boxed):
        try:
            tight = masks.segmentations.boxes(numbers, sizes[numbers])
        except SegmentationError:  # which is raised when it is read
            return short
        tight[:, 2:] -= 1
        found = (tight == stated[numbers]).all(1)
        if not len(numbers) or found.mean() < NEARLY_ALL:
            return short
    short[boxed] = found
    return short
