"""Labels in YOLO's format: a txt for each image, and in it a line for each object, relative to the image's size.

The format: https://docs.ultralytics.com/datasets/detect/ and https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.classes import read_lines
from coatseg.data.annotations.objects.entries import extent_of
from coatseg.errors import DatasetError
from coatseg.structures import Size

FORMAT = "A line is a class and x, y, width and height of its box, or a class and x and y of three points or more."
BOX_NUMBERS = 5
LEAST_NUMBERS = 7
"""Of a line with a polygon: its class and three points."""


@dataclass(frozen=True)
class YoloObject:
    """An object: its class, x, y, width and height in pixels, its polygon, x and y in turn, or None for a box alone.

    `words` say where it stands. `clipped` is whether a coordinate was outside 0 to 1, by less than a pixel.
    """

    label: int
    bbox: list[float]
    polygon: list[float] | None
    words: str
    clipped: bool


def read_yolo(path: Path, words: str, size: Size, classes: Sequence[str], yaml: Path) -> Iterator[YoloObject]:
    """Read the objects of an image of this (height, width) from its txt, which lines call `words`.

    Their classes are those that `yaml` names.

    Raises:
        DatasetError: the txt cannot be read, or a line makes no sense.
    """
    for number, line in enumerate(read_lines(path), 1):
        if line:
            found = _object(line, f"{path}, line {number}", f"{words}, line {number}", size)
            if found.label not in range(len(classes)):
                raise DatasetError(
                    f"{path}, line {number} has the class {line.split()[0]}: {yaml} names {len(classes)} classes, "
                    "counted from 0.",
                    "Add its name there, or correct the line.",
                )
            yield found


def _object(line: str, place: str, words: str, size: Size) -> YoloObject:
    """Read a line; the class is -1 where that is no whole number."""
    try:
        numbers = np.array([float(word) for word in line.split()])
    except ValueError as error:
        raise DatasetError(f"{place}: {line[:40]!r} is not made of numbers.", FORMAT) from error
    if len(numbers) != BOX_NUMBERS and (len(numbers) < LEAST_NUMBERS or len(numbers) % 2 == 0):
        confidence = " A sixth number is the confidence of a prediction: leave it out." if len(numbers) == 6 else ""
        raise DatasetError(f"{place} has {len(numbers)} number{'s' * (len(numbers) != 1)}.", f"{FORMAT}{confidence}")
    label = int(numbers[0]) if numbers[0].is_integer() else -1
    pixels, clipped = _pixels(numbers[1:].reshape(-1, 2), place, size)
    if len(numbers) == BOX_NUMBERS:
        (x, y), (width, height) = pixels.tolist()
        return YoloObject(label, [x - width / 2, y - height / 2, width, height], None, words, clipped)
    polygon = pixels.ravel().tolist()
    return YoloObject(label, extent_of([polygon]), polygon, words, clipped)


def _pixels(points: npt.NDArray[np.float64], place: str, size: Size) -> tuple[npt.NDArray[np.float64], bool]:
    """Return points (N, 2), fractions of an image's width and height, in its pixels, and whether any was clipped."""
    sides: Any = np.array([size[1], size[0]], np.float64)
    excess = np.maximum(-points, points - 1) * sides
    wrong = ~(excess < 1)  # not a number is wrong too
    if wrong.any():
        raise DatasetError(
            f"{place} has the coordinate {points[wrong][0]:g}, which is not between 0 and 1.",
            "Coordinates are fractions of the image: divide x by its width and y by its height.",
        )
    return points.clip(0, 1) * sides, bool((excess > 0).any())
