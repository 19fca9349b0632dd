"""Columns of a json of objects in COCO's format: one field of all its entries, checked and converted to an array.

The format: https://cocodataset.org/#format-data, section 1.
"""

from __future__ import annotations

from pathlib import Path
from reprlib import repr as brief
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.classes import first_repeated
from coatseg.errors import DatasetError

NAMES = (int, str)
"""The types that the id of an image may have."""
LARGEST = 2**63 - 1
"""The largest integer that an int64 array holds."""


def column_of(path: Path, kind: str, entries: list[dict[str, Any]], key: str, types: Any) -> list[Any]:
    """Return one field of all entries; all must have it, of the right type, and integers must fit into 64 bits."""
    column = [entry.get(key) for entry in entries]
    for number, value in enumerate(column):
        if not isinstance(value, types) or (types is int and not -LARGEST <= value <= LARGEST):
            name = entries[number].get("id", f"number {number + 1}")
            stated = f"{key}={brief(value)}" if key in entries[number] else f"no {key}"
            raise unfitting(path, f"{kind} {name}", f"has {stated}")
    return column


def unique_column(path: Path, kind: str, entries: list[dict[str, Any]], key: str, types: Any) -> list[Any]:
    """Return one field of all entries, as `column_of` does; no two may have the same.

    Raises:
        DatasetError: a value is missing, of another type, or there twice.
    """
    column = column_of(path, kind, entries, key, types)
    written = list(map(str, column))  # as in result files, where 1 and "1" are the same
    if len(set(written)) < len(written):
        raise DatasetError(
            f"{path} has the {kind} {key} {first_repeated(written)} twice.",
            f"Give every {kind} {'an' if key == 'id' else 'a'} {key} of its own.",
        )
    return column


def places_of(
    path: Path, annotations: list[dict[str, Any]], key: str, known: list[Any], where: str
) -> npt.NDArray[np.int64]:
    """Return for each annotation the place in `known` of the image or category that it refers to."""
    places = {name: place for place, name in enumerate(known)}
    column = column_of(path, "annotation", annotations, key, NAMES)
    found = np.array([places.get(name, -1) for name in column], np.int64)
    if (found < 0).any():
        number = int((found < 0).argmax())
        raise unfitting(
            path, f"annotation {annotations[number]['id']}", f"has {key}={column[number]!r}, which {where} lacks"
        )
    return found


def stated_boxes(path: Path, annotations: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """Return the boxes (N, 4) as corners, converted from x, y, width and height."""
    stated = column_of(path, "annotation", annotations, "bbox", list)
    boxes = np.array([_four(box) for box in stated], np.float64).reshape(-1, 4)
    wrong = ~np.isfinite(boxes).all(1)
    if wrong.any():
        number = int(wrong.argmax())
        raise unfitting(
            path,
            f"annotation {annotations[number]['id']}",
            f"has bbox={brief(stated[number])}, which is not x, y, width and height",
        )
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _four(box: list[Any]) -> list[float]:
    return box if len(box) == 4 and all(map(_is_number, box)) else [np.nan] * 4


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that fits into an array; a json may state integers of any length."""
    return isinstance(value, float) or (isinstance(value, int) and -LARGEST <= value <= LARGEST)


def stated_crowds(path: Path, annotations: list[dict[str, Any]]) -> npt.NDArray[np.bool_]:
    """Return whether each annotation is a crowd, (N,); those that do not state it are not."""
    stated = [annotation.get("iscrowd") for annotation in annotations]
    for annotation, crowd in zip(annotations, stated, strict=True):
        if crowd not in (None, 0, 1):
            raise unfitting(
                path, f"annotation {annotation['id']}", f"has iscrowd={brief(crowd)}, which is neither 0 nor 1"
            )
    return np.array(stated, bool)


def stated_areas(path: Path, annotations: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """Return the stated areas (N,), NaN where there is none."""
    stated = [annotation.get("area") for annotation in annotations]
    for annotation, area in zip(annotations, stated, strict=True):
        if area is not None and not _is_number(area):
            raise unfitting(path, f"annotation {annotation['id']}", f"has area={brief(area)}")
    return np.array([np.nan if area is None else area for area in stated], np.float64)


def unfitting(path: Path, place: str, what: str) -> DatasetError:
    """Return the error of an entry at `place` in a json."""
    return DatasetError(f"{path}: {place} {what}.", "Correct it there, or export or copy the file again.")
