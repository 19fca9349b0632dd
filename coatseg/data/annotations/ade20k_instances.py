"""Segments of ADE20K: stuff by the masks of its scene parsing, and over it things by the files of its instances.

The latter are RGB PNG files: red is the class among 100, from 1 on, and green the number of the object in the image, 0
for none. Source of this, and of how both are put together: Mask2Former, datasets/prepare_ade20k_pan_seg.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from coatseg.errors import DatasetError
from coatseg.structures import Panoptic, Pixels, Segment

CLASSES = 150
# The classes of scene parsing, from 1 on, that have no instances. The 100 others are numbered in the same order there:
# Mask2Former, datasets/ade20k_instance_catid_mapping.txt.
STUFF = (
    1, 2, 3, 4, 5, 6, 7, 10, 12, 14, 17, 18, 22, 26, 27, 29, 30, 35, 41, 47, 49, 52, 53, 55, 60, 61, 62, 64, 69, 78, 80,
    85, 92, 95, 97, 100, 101, 102, 106, 107, 110, 114, 115, 118, 123, 129, 132, 141, 142, 146,
)  # fmt: skip
THINGS = tuple(number - 1 for number in range(1, CLASSES + 1) if number not in STUFF)
"""The class numbers of the things, in the order of the instances' classes."""

MEND = (
    "Take it from http://sceneparsing.csail.mit.edu/data/ChallengeData2017/annotations_instance.tar as it is, or leave "
    "data.panoptic out."
)


def segments_of(labels: Pixels, coded: npt.NDArray[np.int32], path: Path) -> Panoptic:
    """Return the segments of an image, by its label map (H, W) and the R + 256 G (+ 65536 B) of its instances, `path`.

    Stuff has the ids 1 to 150 of its classes, an object 150 and its number; things without a number are void.

    Raises:
        DatasetError: an object is of no class of the instances, or of several.
    """
    codes = coded & 0xFFFF
    found = np.flatnonzero(np.bincount(codes.ravel()))
    objects = found[found >> 8 > 0]
    numbers, classes = objects >> 8, objects & 255
    wrong = (classes < 1) | (classes > len(THINGS)) | (np.diff(numbers, prepend=-1) == 0)  # of two classes
    if wrong.any():
        first = int(wrong.argmax())
        y, x = np.argwhere(codes == objects[first])[0].tolist()
        kind = f"of the class {classes[first]}, and there are 1 to {len(THINGS)}"
        kind = "of another class elsewhere" if 1 <= classes[first] <= len(THINGS) else kind
        raise DatasetError(f"{path} has the object {numbers[first]}, first at (x={x}, y={y}), which is {kind}.", MEND)
    of_code = np.zeros(0x10000, np.int32)
    of_code[objects] = CLASSES + numbers
    of_label = np.zeros(256, np.int32)
    of_label[np.array(STUFF) - 1] = STUFF
    ids = of_code[codes]
    ids = np.where(ids > 0, ids, of_label[labels])
    stuff = np.flatnonzero(np.bincount(ids.ravel(), minlength=CLASSES + 1)[1 : CLASSES + 1])
    segments = [Segment(label + 1, label) for label in stuff.tolist()]
    things = zip(numbers.tolist(), classes.tolist(), strict=True)
    return Panoptic(ids, (*segments, *(Segment(CLASSES + number, THINGS[kind - 1]) for number, kind in things)))
