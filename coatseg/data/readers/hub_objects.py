"""The objects in a table's column: their classes by name, their boxes mended, read at once for the rows of a split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.formats.hub_column import StatedObjects, category_field, read_object_column
from coatseg.data.annotations.objects.mended_boxes import BOXES, mend_boxes, repair_line
from coatseg.data.trees.hub_tables import Table, object_fields, type_in_words
from coatseg.errors import ConfigError, DatasetError, listed, nearest
from coatseg.structures import Instances, Size

BoxFormat = Literal["xywh", "xyxy"]
SIDES = ("height", "width")
"""The columns that state the sizes of images, where a table has both."""


class Categories:
    """How the categories that objects state become class numbers.

    `names` maps what is stated to names, all that there are; `chosen` are those to learn, in this order, and all if it
    is empty, but for those to `leave_out`.

    Raises:
        ConfigError: a name is chosen or left out that is none, or no class is left.
    """

    def __init__(self, names: Mapping[Any, str], chosen: Sequence[str] = (), leave_out: Sequence[str] = ()) -> None:
        for key, given in (("classes", chosen), ("leave_out", leave_out)):
            strange = next((name for name in given if name not in names.values()), None)
            if strange is not None:
                raise ConfigError(f"data.{key}: no object is of {strange!r}.", nearest(strange, names.values()))
        self.classes = tuple(name for name in chosen or names.values() if name not in leave_out)
        if not self.classes:
            raise ConfigError("There is no class to learn.", "Choose some with data.classes=[...].")
        numbers = {name: number for number, name in enumerate(self.classes)}
        self._labels = {stated: numbers.get(name, -1) for stated, name in names.items()}

    def labels(self, objects: StatedObjects, place: Callable[[int], str]) -> npt.NDArray[np.int64]:
        """Return the class numbers (N,) of objects, -1 for those of classes that are left out.

        Raises:
            DatasetError: an object states a category that has no name.
        """
        for row, stated in zip(objects.rows.tolist(), objects.categories, strict=True):
            if stated not in self._labels:
                raise DatasetError(
                    f"{place(row)} has an object of the category {stated!r}, which is no class.",
                    f"There are {listed([str(name) for name in self._labels])}. Name all with data.classes=[...].",
                )
        return np.array([self._labels[stated] for stated in objects.categories], np.int64)


def find_categories(
    tables: Mapping[str, Table], column: str, classes: Sequence[str], leave_out: Sequence[str]
) -> Categories:
    """Find the classes of objects: those that the column's type names, or the texts in all splits; `classes` chooses.

    Where categories are numbers without names, `classes` names them.

    Raises:
        ConfigError: a name that is none, or numbers without names.
        DatasetError: objects have no category.
    """
    table = next(iter(tables.values()))
    fields = object_fields(table.features[column])
    field = category_field(tuple(fields))
    if field is None:
        raise DatasetError(
            f"The objects in {column!r} of {table.place} have no class, only {', '.join(fields)}.",
            "Add a field `category`, which holds a class for each object.",
        )
    if named := getattr(fields[field], "names", None):
        return Categories(dict(enumerate(named)), classes, leave_out)
    if type_in_words(fields[field]) in ("string", "large_string"):
        stated = {text for one in tables.values() for text in read_objects(one, None, column).categories}
        return Categories({name: name for name in sorted(stated)}, classes, leave_out)
    if not classes:
        raise ConfigError(
            f"The categories in {column!r} of {table.place} are numbers without names.",
            "Name them, that of 0 first, with data.classes=[cat,dog].",
        )
    return Categories(dict(enumerate(classes)), (), leave_out)


def read_objects(table: Table, rows: Sequence[int] | None, column: str) -> StatedObjects:
    """Read the objects of some rows, or of all; their `rows` are places among the given ones."""
    entries = table.values(column)
    rows = range(len(entries)) if rows is None else rows
    fields = tuple(object_fields(table.features[column]))
    return read_object_column([entries[row] for row in rows], fields, lambda place: table.row(rows[place]))


class BoxTruth:
    """The boxes of objects in the rows of a split, by their places in it.

    `size` reads the (height, width) of an image, which is asked for where the table does not state it. `repairs` say
    what was mended or left out, a line each.
    """

    def __init__(
        self,
        table: Table,
        rows: Sequence[int],
        column: str,
        categories: Categories,
        box_format: BoxFormat,
        size: Callable[[int], Size],
    ) -> None:
        self._table, self._rows = table, rows
        objects = read_objects(table, rows, column)
        stated = self._stated_sizes()
        self._sizes = np.array([size(place) for place in range(len(rows))]) if stated is None else stated
        labels = categories.labels(objects, self._place)
        corners = objects.boxes.copy()
        if box_format == "xywh":
            corners[:, 2:] += corners[:, :2]
        mended = mend_boxes(corners, self._sizes[objects.rows])
        kept = mended.kept & (labels >= 0)
        spare = np.flatnonzero(labels < 0)
        self.repairs = mended.repairs(lambda number: self._place(objects.rows[number]))
        if len(spare):
            first = self._place(objects.rows[spare[0]])
            self.repairs += (repair_line(BOXES, len(spare), "of classes that are not chosen left out", first),)
        self._begins = np.searchsorted(objects.rows[kept], np.arange(len(rows) + 1))
        self._boxes = mended.boxes[kept]
        self._labels, self._crowd = labels[kept], objects.crowd[kept]
        self._areas = None if objects.areas is None else objects.areas[kept]

    def _place(self, place: int) -> str:
        return self._table.row(self._rows[place])

    def _stated_sizes(self) -> npt.NDArray[np.int64] | None:
        """Return the sizes (N, 2) that the table states in two columns of whole numbers; None if it does not."""
        if not all(type_in_words(self._table.features.get(side)).startswith(("int", "uint")) for side in SIDES):
            return None
        columns = [self._table.values(side) for side in SIDES]
        if any(side is None for column in columns for side in column):
            return None
        return np.array(columns, np.int64).T[np.array(self._rows, np.int64)]

    def has_objects(self, place: int) -> bool:
        """Return whether an image has an object that is no crowd."""
        return not self._crowd[self._begins[place] : self._begins[place + 1]].all()

    def size(self, place: int) -> Size:
        """Return the (height, width) of an image, as stated or as read when the objects were."""
        height, width = self._sizes[place].tolist()
        return height, width

    def labels(self, place: int) -> None:
        """Return no label map: there are objects."""

    def fields(self, place: int, size: Size) -> dict[str, Any]:
        """Return the objects of an image of this (height, width), as a field of a sample.

        Raises:
            DatasetError: the table states another size.
        """
        stated = self.size(place)
        if stated != size:
            raise DatasetError(
                f"{self._place(place)} states {stated[0]}x{stated[1]}, and its image has {size[0]}x{size[1]}.",
                "Sizes are height x width, upright by EXIF. Annotate the image as it is, or correct the columns.",
            )
        own = slice(self._begins[place], self._begins[place + 1])
        areas = None if self._areas is None else self._areas[own]
        return {"instances": Instances(self._boxes[own], self._labels[own], None, self._crowd[own], areas)}
