"""The masks in a table's column: class numbers, or colours, whose classes a list or a file names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coatseg.data.annotations.classes import ClassList, check_class_names, read_classes
from coatseg.data.images.embedded import as_file
from coatseg.data.images.reading import read_label_map
from coatseg.data.readers.mask_files import MaskReader, check_labels
from coatseg.data.trees.hub_tables import Table
from coatseg.errors import ConfigError, DatasetError
from coatseg.structures import DatasetInfo, Pixels, Size

NAMES = "Name them with data.classes=[road,car], that of label 0 first, or with a file: data.classes=classes.txt"


def mask_classes(root: Path, classes: Sequence[str] | str | None, ignore_index: int) -> ClassList:
    """Return the classes that a list names, or a file, which may lie in `root`.

    Raises:
        ConfigError: there are none, or the ignore index is one of them.
        DatasetError: the file is not there, or names no class.
    """
    if classes is None:
        raise ConfigError("Masks hold numbers, and no column names their classes.", NAMES)
    if isinstance(classes, str):
        inside = root / classes
        listed = read_classes(inside if inside.is_file() else Path(classes))
    else:
        listed = ClassList(check_class_names(classes), (), ())
    if 0 <= ignore_index < len(listed.names):
        raise ConfigError(
            f"data.ignore_index={ignore_index} is the class {listed.names[ignore_index]}.",
            f"Choose a number that is no class, from {len(listed.names)} on.",
        )
    return listed


def mask_reader(listed: ClassList, file: object, colour_masks: bool, ignore_index: int) -> MaskReader:
    """Return what reads a mask; raises DatasetError if it has colours and the classes, of a `file`, have none."""
    return listed.colour_masks(Path(str(file)), ignore_index) if colour_masks else read_label_map


class MaskTruth:
    """The masks in the rows of a split, by their places in it; `read` reads the file of one as class numbers (H, W)."""

    repairs: tuple[str, ...] = ()

    def __init__(self, table: Table, rows: Sequence[int], column: str, info: DatasetInfo, read: MaskReader) -> None:
        self._table, self._rows, self._column, self._info, self._read = table, rows, column, info, read

    def size(self, place: int) -> None:
        """Return no size: tables of masks state none."""

    def has_objects(self, place: int) -> None:
        """Return that nothing is known of objects."""

    def labels(self, place: int) -> Pixels:
        """Read a label map (H, W).

        Raises:
            ImageError, DatasetError: it is not there or cannot be read, or a label is neither a class nor ignored.
        """
        row = self._rows[place]
        where = f"{self._table.row(row)}, {self._column}"
        with as_file(*self._table.content(row, self._column), where) as path:
            mask = self._read(path)
        return check_labels(where, mask, self._info)

    def fields(self, place: int, size: Size) -> dict[str, Any]:
        """Return the label map of an image of this (height, width), as a field of a sample.

        Raises:
            ImageError, DatasetError: as `labels`, or the mask has another size.
        """
        labels = self.labels(place)
        if labels.shape != size:
            raise DatasetError(
                f"{self._table.row(self._rows[place])}: the mask is {labels.shape[0]}x{labels.shape[1]}, its image "
                f"{size[0]}x{size[1]}.",
                "Sizes are height x width. Export the mask at the size of the image.",
            )
        return {"label_map": labels}
