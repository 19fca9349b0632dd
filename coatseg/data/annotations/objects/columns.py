"""Columns of a json of objects in COCO's format: one field of all its entries, checked and converted to an array.

The format: https://cocodataset.org/#format-data, section 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
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

Entries = Sequence[dict[str, Any]]
Place = Callable[[int], str]
"""Says in words where the annotation of a number stands."""


def column_of(path: Path, kind: str, entries: Entries, key: str, types: Any, place: Place | None = None) -> list[Any]:
    """Return one field of all entries; all must have it, of the right type, and integers must fit into 64 bits."""
    column = [entry.get(key) for entry in entries]
    for number, value in enumerate(column):
        if not isinstance(value, types) or (types is int and not -LARGEST <= value <= LARGEST):
            name = f"{kind} {entries[number].get('id', f'number {number + 1}')}" if place is None else place(number)
            stated = f"{key}={brief(value)}" if key in entries[number] else f"no {key}"
            raise unfitting(path, name, f"has {stated}")
    return column


def unique_column(path: Path, kind: str, entries: Entries, key: str, types: Any) -> list[Any]:
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


def check_unique_ids(path: Path, ids: Sequence[int], rows: npt.NDArray[np.int64]) -> bool:
    """Return whether ids of annotations name them; those of different images, at `rows`, may share one.

    Raises:
        DatasetError: two annotations of one image have the same id.
    """
    if len(set(ids)) == len(ids):
        return True
    pairs = Counter(zip(ids, rows.tolist(), strict=True))
    (number, _), count = pairs.most_common(1)[0]
    if count > 1:
        raise DatasetError(f"{path} has the annotation id {number} twice.", "Give every annotation an id of its own.")
    return False


def places_of(
    path: Path, annotations: Entries, key: str, known: Sequence[Any], where: str, place: Place
) -> npt.NDArray[np.int64]:
    """Return for each annotation the place in `known` of the image or category that it refers to."""
    places = {name: number for number, name in enumerate(known)}
    column = column_of(path, "annotation", annotations, key, NAMES, place)
    found = np.array([places.get(name, -1) for name in column], np.int64)
    if (found < 0).any():
        number = int((found < 0).argmax())
        raise unfitting(path, place(number), f"has {key}={column[number]!r}, which {where} lacks")
    return found


def stated_boxes(
    path: Path, annotations: Entries, masked: npt.NDArray[np.bool_], place: Place
) -> npt.NDArray[np.float64]:
    """Return the boxes (N, 4) as corners, converted from x, y, width and height.

    Those that are `masked` (N,) may state none, and have NaN then.
    """
    column = [annotation.get("bbox") for annotation in annotations]
    absent = np.array([not box and box != 0 for box in column], bool) & masked
    boxes = np.array([_four(box) for box in column], np.float64).reshape(-1, 4)
    wrong = ~np.isfinite(boxes).all(1) & ~absent
    if wrong.any():
        number = int(wrong.argmax())
        stated = column[number]
        if not isinstance(stated, list):
            raise unfitting(
                path, place(number), f"has bbox={brief(stated)}" if "bbox" in annotations[number] else "has no bbox"
            )
        raise unfitting(path, place(number), f"has bbox={brief(stated)}, which is not x, y, width and height")
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _four(box: Any) -> list[float]:
    return box if isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) else [np.nan] * 4


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that fits into an array; a json may state integers of any length."""
    return isinstance(value, float) or (isinstance(value, int) and -LARGEST <= value <= LARGEST)


def stated_crowds(path: Path, annotations: Entries, place: Place) -> npt.NDArray[np.bool_]:
    """Return whether each annotation is a crowd, (N,); those that do not state it are not."""
    stated = [annotation.get("iscrowd") for annotation in annotations]
    for number, crowd in enumerate(stated):
        if crowd not in (None, 0, 1):
            raise unfitting(path, place(number), f"has iscrowd={brief(crowd)}, which is neither 0 nor 1")
    return np.array(stated, bool)


def stated_areas(path: Path, annotations: Entries, place: Place) -> npt.NDArray[np.float64]:
    """Return the stated areas (N,), NaN where there is none."""
    stated = [annotation.get("area") for annotation in annotations]
    for number, area in enumerate(stated):
        if area is not None and not _is_number(area):
            raise unfitting(path, place(number), f"has area={brief(area)}")
    return np.array([np.nan if area is None else area for area in stated], np.float64)


def unfitting(path: Path, place: str, what: str) -> DatasetError:
    """Return the error of an entry at `place` in a json."""
    return DatasetError(f"{path}: {place} {what}.", "Correct it there, or export or copy the file again.")
