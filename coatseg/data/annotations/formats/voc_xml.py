"""Read the boxes of one image from an xml in Pascal VOC's format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from coatseg.errors import DatasetError
from coatseg.structures import Size

CORNERS = ("xmin", "ymin", "xmax", "ymax")
LARGEST_SIDE = 1e9
DIFFICULT = {
    **dict.fromkeys(("1", "true", "yes"), True),
    **dict.fromkeys(("", "0", "false", "no", "unspecified"), False),
}
"""What tools write into <difficult>, in lower case, and whether it says that an object is."""


@dataclass(frozen=True)
class VOCObject:
    """An object as an xml states it: its name, the four corners, and whether it is difficult."""

    name: str
    corners: tuple[float, ...]
    difficult: bool


def read_boxes(path: Path) -> tuple[Size | None, tuple[VOCObject, ...]]:
    """Read from an xml the (height, width) of the image, None if no size is stated, and the objects.

    Raises:
        DatasetError: it cannot be read, or is no such xml.
    """
    try:
        tree = ElementTree.fromstring(path.read_bytes())
        if tree.tag != "annotation":
            raise ValueError(f"its root is <{tree.tag}>, not <annotation>")
        return _size(tree), tuple(_object(part) for part in tree.iterfind("object"))
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror}.",
            "An image without objects has an xml too, <annotation></annotation>; or take it out of the list, or set "
            "data.without_annotation=empty or leave_out.",
        ) from error
    except (ElementTree.ParseError, ValueError) as error:
        raise DatasetError(
            f"{path} is no annotation of boxes: {error}.", "Copy or export it again, or take it out of the list."
        ) from error


def _size(tree: ElementTree.Element) -> Size | None:
    """Return the stated size; None if it is 0, as written by tools that do not know it."""
    height, width = (_side(tree, side) for side in ("height", "width"))
    return (height, width) if height > 0 and width > 0 else None


def _side(tree: ElementTree.Element, side: str) -> int:
    text = tree.findtext(f"size/{side}") or "0"
    value = _number(text)
    if not abs(value) < LARGEST_SIDE:  # NaN is wrong too
        raise ValueError(f"the {side} of its image is {text!r}")
    return int(value)


def _number(text: str | None) -> float:
    """Return the number in a text; NaN if it is none."""
    try:
        return float(text or "")
    except ValueError:
        return float("nan")


def _object(part: ElementTree.Element) -> VOCObject:
    name = (part.findtext("name") or "").strip()
    if not name:
        raise ValueError("an object has no name")
    corners = []
    for corner in CORNERS:
        text = part.findtext(f"bndbox/{corner}")
        value = _number(text)
        if not np.isfinite(value):
            raise ValueError(f"the {corner} of an object {name!r} is {text!r}")
        corners.append(value)
    stated = (part.findtext("difficult") or "").strip()
    if stated.lower() not in DIFFICULT:
        raise ValueError(f"an object {name!r} is {stated!r} in <difficult>, which is neither 0 nor 1")
    return VOCObject(name, tuple(corners), DIFFICULT[stated.lower()])
