"""Which class the objects of an id map are of: by their numbers, or by a second map, of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coatseg.structures import Pixels

Numbers = npt.NDArray[np.int64]

IGNORED = -1
"""What a map of classes holds where no class is known; the label of objects that are left out."""
MIXED = -2
"""The label of an object of several classes."""
STRANGE = -3
"""The label of an object of no class."""


@dataclass(frozen=True)
class ClassNumbers:
    """Tells the classes of objects by their numbers: `per_class` times the class, and a number below.

    `count` classes are counted from 1, and a single one has any numbers. With `class_ids` the classes have these
    numbers, and whatever has another is no object; the number `per_class` times the class itself marks a region of
    it that was not parted into objects, which is crowd.
    """

    count: int
    per_class: int
    class_ids: tuple[int, ...] | None = None

    def labels(self, numbers: Numbers) -> Numbers:
        """Return the labels (N,) of the objects of these numbers, IGNORED or STRANGE for those that have none."""
        if self.class_ids is None and self.count == 1:
            return np.zeros(len(numbers), np.int64)
        classes = numbers // self.per_class
        if self.class_ids is None:
            return np.where((classes >= 1) & (classes <= self.count), classes - 1, STRANGE)
        table = np.full(int(max(*classes, *self.class_ids, 0)) + 1, IGNORED)
        table[list(self.class_ids)] = np.arange(self.count)
        return np.asarray(table[classes])

    def crowd(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Return which objects are crowd, (N,)."""
        if self.class_ids is None:
            return np.zeros(len(numbers), bool)
        return np.asarray(numbers % self.per_class == 0)


def labels_of_map(ids: Pixels, found: Numbers, classes: Pixels) -> Numbers:
    """Return the labels (N,) of the objects `found` in an id map (H, W), as a map `classes` (H, W) has them there.

    An object is IGNORED if its pixels are, MIXED if they are of several classes; ignored ones do not count.
    """
    inside = (ids != 0) & (classes != IGNORED)
    place = np.searchsorted(found, ids[inside])
    pairs = np.unique(place * np.int64(2**32) + classes[inside] - STRANGE)
    places, labels = pairs >> 32, (pairs & (2**32 - 1)) + STRANGE
    counts = np.bincount(places, minlength=len(found))
    of_objects = np.full(len(found), IGNORED, np.int64)
    of_objects[places] = labels
    of_objects[counts > 1] = MIXED
    return of_objects
