"""Objects in a column of a table, a row an image, as Hugging Face datasets have them.

A row holds lists of one length, {"bbox": [...], "category": [...], "area": [...], "iscrowd": [...]}, or a list of such
objects; both forms are written by `datasets`, by its version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as brief
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.errors import DatasetError

BOX, AREA = "bbox", "area"
CATEGORIES = ("category", "category_id", "label")
"""The fields that may hold the class of an object; the first that is there does."""
CROWDS = ("iscrowd", "is_crowd", "difficult")
"""The fields that mark objects which are neither learnt nor counted."""
MEND = "Correct it in the table, or leave the row out."


@dataclass(frozen=True)
class StatedObjects:
    """The N objects of a column, in the order of its rows.

    `rows` (N,) are those of their images; `boxes` (N, 4) hold the four numbers as stated; `categories` are as stated,
    numbers or names; `areas` is None where an object has none.
    """

    rows: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    categories: tuple[Any, ...]
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float64] | None


def category_field(fields: Sequence[str]) -> str | None:
    """Return which of an object's fields holds its class; None if none does."""
    return next((name for name in CATEGORIES if name in fields), None)


def read_object_column(entries: Sequence[Any], fields: Sequence[str], place: Callable[[int], str]) -> StatedObjects:
    """Read the objects of all rows; `fields` are those that an object has, and `place` says where a row is.

    Raises:
        DatasetError: a box is not four finite numbers, lists of a row differ in length, a crowd is neither 0 nor 1.
    """
    category = category_field(fields)
    wanted = [name for name in (BOX, category, AREA, *CROWDS) if name in fields and name is not None]
    found: dict[str, list[Any]] = {name: [] for name in wanted}
    rows: list[int] = []
    for row, entry in enumerate(entries):
        lists = _lists(entry, wanted)
        counts = {len(values) for values in lists.values()}
        if len(counts) > 1:
            stated = ", ".join(f"{len(values)} of {name}" for name, values in lists.items())
            raise DatasetError(f"{place(row)} has {stated}, not one for each object.", MEND)
        for name, values in lists.items():
            found[name] += values
        rows += [row] * counts.pop()
    boxes = np.array([_four(box) for box in found[BOX]], np.float64).reshape(-1, 4)
    wrong = ~np.isfinite(boxes).all(1)
    if wrong.any():
        number = int(wrong.argmax())
        raise DatasetError(f"{place(rows[number])} has the box {brief(found[BOX][number])}, not four numbers.", MEND)
    areas = found.get(AREA)
    return StatedObjects(
        np.array(rows, np.int64),
        boxes,
        tuple(found[category]) if category else (),
        _crowds([found[name] for name in CROWDS if name in found], rows, place),
        None if areas is None or any(area is None for area in areas) else np.array(areas, np.float64),
    )


def _lists(entry: Any, wanted: Sequence[str]) -> Mapping[str, list[Any]]:
    """Return each wanted field of a row's objects as a list; a row that is null has no objects."""
    if isinstance(entry, Mapping):
        return {name: entry[name] or [] for name in wanted}
    return {name: [(one or {}).get(name) for one in entry or ()] for name in wanted}


def _four(box: Any) -> list[float]:
    return box if box is not None and len(box) == 4 and None not in box else [np.nan] * 4


def _crowds(columns: Sequence[list[Any]], rows: Sequence[int], place: Callable[[int], str]) -> npt.NDArray[np.bool_]:
    """Return which objects are marked in any of these columns."""
    crowd = np.zeros(len(rows), bool)
    for column in columns:
        for number, value in enumerate(column):
            if value not in (None, 0, 1):  # True and False are 1 and 0
                raise DatasetError(f"{place(rows[number])} has a crowd of {brief(value)}, neither 0 nor 1.", MEND)
        crowd |= np.array(column, bool)
    return crowd
