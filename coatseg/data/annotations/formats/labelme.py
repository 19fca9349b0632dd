"""Shapes as LabelMe writes them: a json for each image, with polygons, rectangles, circles and masks.

The format: https://github.com/wkentaro/labelme, labelme/_label_file.py and labelme/utils/shape.py, whose shapes of one
label and one group_id are one object.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from reprlib import repr as brief
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from coatseg.data.annotations.formats.json_file import read_json
from coatseg.data.annotations.objects.run_lengths import runs_of_crop
from coatseg.errors import DatasetError
from coatseg.structures import Size

BACKGROUND, IGNORED = "_background_", "__ignore__"
"""Labels that are no class: LabelMe's own scripts paint them as 0 and as what is to be ignored."""
COUNTS = {"rectangle": 2, "oriented_rectangle": 4, "circle": 2, "mask": 2}
"""How many points state a shape; a polygon has any number."""
LINES = ("point", "points", "line", "linestrip")
"""Shapes without pixels."""
SAG = 0.01
"""Pixels by which the sides of the polygon of a circle may lie inside of it."""


@dataclass(frozen=True)
class Shape:
    """A shape: its number in the file, counted from 1, its label, group or None, kind, and its own fields."""

    number: int
    label: str
    group: int | None
    kind: str
    stated: dict[str, Any]


@dataclass(frozen=True)
class LabelFile:
    """The content of a json: the name of its image and its (height, width) or None, as stated, and the shapes."""

    path: Path
    image: str
    size: Size | None
    shapes: tuple[Shape, ...]

    @property
    def objects(self) -> list[list[Shape]]:
        """The shapes with pixels, those of one label and group together, in the order of the first of each."""
        found: dict[Any, list[Shape]] = {}
        for shape in self.shapes:
            if shape.kind not in LINES:
                key = shape.number if shape.group is None else (shape.label, shape.group)
                found.setdefault(key, []).append(shape)
        return list(found.values())


def read_labelme(path: Path) -> LabelFile:
    """Read a json of LabelMe.

    Raises:
        DatasetError: it cannot be read, or is no such json.
    """
    content = read_json(path, "Save it again from LabelMe.")
    stated = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(stated, list) or not all(isinstance(shape, dict) for shape in stated):
        raise DatasetError(
            f"{path} is no file of LabelMe: it has no list of shapes.", "Save it again, or move it away."
        )
    sides = content.get("imageHeight"), content.get("imageWidth")
    known = all(isinstance(side, int) and side > 0 for side in sides)
    return LabelFile(
        path,
        PureWindowsPath(str(content.get("imagePath") or "")).name,  # which knows both kinds of slashes
        (sides[0], sides[1]) if known else None,
        tuple(_shape(path, number, shape) for number, shape in enumerate(stated, 1)),
    )


def _shape(path: Path, number: int, stated: dict[str, Any]) -> Shape:
    label, group = stated.get("label"), stated.get("group_id")
    kind = stated.get("shape_type") or "polygon"
    if not isinstance(label, str) or not label:
        raise DatasetError(f"{path}, shape {number} has no label.", "Give it one in LabelMe.")
    if kind not in (*SEGMENTATIONS, *LINES):
        raise DatasetError(
            f"{path}, shape {number} is a {brief(kind)}.",
            f"Known are {', '.join(SEGMENTATIONS)}; points and lines are left out.",
        )
    return Shape(number, label, group, kind, stated)


def segmentation_of(path: Path, shape: Shape, size: Size) -> Any:
    """Return the segmentation of a shape in COCO's form, in an image of this (height, width); None without a pixel.

    Raises:
        DatasetError: its points or its mask make no sense.
    """
    place = f"{path}, shape {shape.number}"
    points = shape.stated.get("points")
    try:
        pairs = [(float(x), float(y)) for x, y in points]  # type: ignore[union-attr]  # checked by trying
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{place} has points that are no pairs of numbers.", "Draw it again in LabelMe.") from error
    count = COUNTS.get(shape.kind)
    if count not in (None, len(pairs)):
        raise DatasetError(
            f"{place} is a {shape.kind} of {len(pairs)} points, not of {count}.", "Draw it again in LabelMe."
        )
    return SEGMENTATIONS[shape.kind](place, pairs, shape.stated, size)


Points = Sequence[tuple[float, float]]


def _polygon(place: str, points: Points, stated: dict[str, Any], size: Size) -> list[list[float]]:
    return [[value for point in points for value in point]]


def _rectangle(place: str, points: Points, stated: dict[str, Any], size: Size) -> list[list[float]]:
    (x1, y1), (x2, y2) = points
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def _circle(place: str, points: Points, stated: dict[str, Any], size: Size) -> list[list[float]]:
    """Return a circle, stated by its centre and a point on it, as a polygon that is as good as round."""
    (x, y), edge = points
    radius = math.dist((x, y), edge)
    corners = 8 if radius <= SAG else max(8, math.ceil(math.pi / math.acos(1 - min(1.0, SAG / radius))))
    angles = 2 * np.pi * np.arange(corners) / corners
    polygon: list[float] = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1).ravel().tolist()
    return [polygon]


def _mask(place: str, points: Points, stated: dict[str, Any], size: Size) -> dict[str, Any] | None:
    """Return a mask, stated by the pixels at two of its corners and a PNG of what is between, both included."""
    (x1, y1), (x2, y2) = ((int(x), int(y)) for x, y in points)  # as LabelMe reads them
    try:
        content = base64.b64decode(stated.get("mask") or "", validate=True)
        crop = np.asarray(Image.open(io.BytesIO(content)))
    except (TypeError, binascii.Error, UnidentifiedImageError, OSError, ValueError) as error:
        raise DatasetError(f"{place} has a mask that is no PNG in base64.", "Draw it again in LabelMe.") from error
    if crop.shape != (y2 - y1 + 1, x2 - x1 + 1):
        raise DatasetError(
            f"{place} has a mask of {'x'.join(map(str, crop.shape))}, and its corners, ({x1}, {y1}) and ({x2}, {y2}), "
            f"span {y2 - y1 + 1}x{x2 - x1 + 1} pixels.",
            "Sizes are height x width, corners included. Draw it again in LabelMe.",
        )
    if x1 < 0 or y1 < 0 or x2 >= size[1] or y2 >= size[0]:
        raise DatasetError(
            f"{place} has a mask that reaches out of its image of {size[0]}x{size[1]}.", "Draw it again in LabelMe."
        )
    runs = runs_of_crop(crop != 0, y1, x1, size)
    return None if runs is None else runs.segmentation()


SEGMENTATIONS: dict[str, Callable[[str, Points, dict[str, Any], Size], Any]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _polygon,
    "circle": _circle,
    "mask": _mask,
}
