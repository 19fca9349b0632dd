"""Hugging Face datasets: parquet files in a folder, or a repository of the hub. The columns are in data/README.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from coatseg.data.annotations.classes import first_repeated, generated_palette
from coatseg.data.annotations.objects.options import ObjectOptions
from coatseg.data.images.embedded import as_file
from coatseg.data.images.reading import read_image, read_size
from coatseg.data.readers.hub_masks import MaskTruth, mask_classes, mask_reader
from coatseg.data.readers.hub_objects import BoxFormat, BoxTruth, find_categories
from coatseg.data.trees.hub_tables import Place, Table, open_tables
from coatseg.data.trees.splits import Splits, names_of_split
from coatseg.errors import ConfigError, DatasetError, SplitNotFoundError, nearest
from coatseg.registry.names import register
from coatseg.registry.options import OptionGroup
from coatseg.structures import IGNORE_INDEX, DatasetInfo, Pixels, Sample, Size


@dataclass(frozen=True, kw_only=True)
class TableSplits(Splits):
    """Which rows a split has: with "names" those that the dataset itself calls so.

    "fraction" and "fold" part its split train, or its only one, into train and val, by a hash of the ids; other splits
    stay. "auto" is "fraction" where there is a single split, else "names".
    """


@dataclass(frozen=True, kw_only=True)
class Columns(OptionGroup):
    """The columns of images and of their truth: masks of class numbers, or objects.

    Ids are those in `id_column`, else the stems of the images' paths if they differ, else the numbers of rows.
    """

    image_column: str = "image"
    mask_column: str | None = None
    objects_column: str | None = None
    id_column: str | None = None


@register("dataset", "hub")
class Hub:
    """The `split` of a Hugging Face dataset, in the folder `root` or in the `repository` of that name on the hub.

    `revision` is one of the repository, and `subset` one of its configurations.

    `classes` are names, or for masks a file of them, which has colours for `colour_masks`. Of objects they are chosen
    among those that the dataset names; `leave_out` leaves some of them out, and `crowd` says what crowds are (see
    ObjectOptions). Boxes are in `box_format`, both of which begin with the x and y of the corner at the top left.

    Raises:
        ConfigError: an option that cannot be, or the library is not installed.
        DatasetNotFoundError: there is no such folder or repository.
        DatasetError: it cannot be opened, or lacks the split or a column; objects that make no sense; an id twice.
    """

    facts_in_words = ("by its columns, or your own", "semantic, or boxes")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        repository: str | None = None,
        revision: str | None = None,
        subset: str | None = None,
        columns: Columns = Columns(),
        classes: Sequence[str] | str | None = None,
        leave_out: Sequence[str] = (),
        crowd: Literal["leave_out", "objects"] = "leave_out",
        colour_masks: bool = False,
        ignore_index: int = IGNORE_INDEX,
        box_format: BoxFormat = "xywh",
        splits: TableSplits = TableSplits(),
    ) -> None:
        _check_options(columns, leave_out=leave_out, crowd=crowd != "leave_out", colour_masks=colour_masks)
        place = Place(Path(root), repository, revision, subset)
        tables = open_tables(place)
        self._table, belongs = _find(place, tables, split, splits)
        _check_columns(self._table, columns)
        self._image = columns.image_column
        ids = _ids(self._table, columns)
        self._rows = tuple(row for row, name in enumerate(ids) if belongs(name))
        self._ids = tuple(ids[row] for row in self._rows)
        if not self._rows:
            raise DatasetError(f"The split {split!r} of {place} has no image.", "Add some, or split otherwise.")
        self._truth: MaskTruth | BoxTruth
        if columns.mask_column is not None:
            listed = mask_classes(place.root, classes, ignore_index)
            read = mask_reader(listed, classes, colour_masks, ignore_index)
            palette = listed.colours or generated_palette(len(listed.names))
            self.info = DatasetInfo(place.name, listed.names, palette, frozenset({"semantic"}), ignore_index)
            self._truth = MaskTruth(self._table, self._rows, columns.mask_column, self.info, read)
        else:
            column = str(columns.objects_column)
            options = ObjectOptions(classes=_names(classes), leave_out=leave_out, crowd=crowd)
            categories = find_categories(tables, column, options)
            self.info = _of_boxes(place.name, categories.chosen.names)
            self._truth = BoxTruth(self._table, self._rows, column, categories, options, box_format, self._read_size)
        self.repairs = self._truth.repairs

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            ImageError: its image or mask cannot be read.
            DatasetError: it has no bytes; or the truth does not fit the image.
        """
        with self._file(index) as path:
            image = read_image(path, self.info.channels)
        size = image.shape[0], image.shape[1]
        return Sample(self._ids[index], image, size, **self._truth.fields(index, size))

    def verify(self, index: int) -> None:
        """Raise what reading sample `index` would raise; that takes decoding, as bytes are cut short in the middle."""
        self[index]

    def size(self, index: int) -> Size:
        """Return the upright (height, width) of a sample's image, as the table states it or from the image's header."""
        return self._truth.size(index) or self._read_size(index)

    def _read_size(self, index: int) -> Size:
        with self._file(index) as path:
            return read_size(path, self.info.channels)

    def labels(self, index: int) -> Pixels | None:
        """Read only the label map (H, W) of a sample; None if it has objects."""
        return self._truth.labels(index)

    def has_objects(self, index: int) -> bool | None:
        """Return whether a sample has an object that is no crowd; None if it has a mask."""
        return self._truth.has_objects(index)

    def _file(self, index: int) -> AbstractContextManager[Path]:
        row = self._rows[index]
        return as_file(*self._table.content(row, self._image), self._table.row(row))


def _names(classes: Sequence[str] | str | None) -> Sequence[str] | None:
    """Return the classes of objects that are chosen, None if all are."""
    if isinstance(classes, str):
        raise ConfigError(f"data.classes={classes} is no list of names.", "Write data.classes=[cat,dog].")
    return classes


def _of_boxes(name: str, classes: tuple[str, ...]) -> DatasetInfo:
    palette, things = generated_palette(len(classes) + 1)[1:], tuple(range(len(classes)))
    return DatasetInfo(name, classes, palette, frozenset({"boxes"}), things=things)


def _find(
    place: Place, tables: Mapping[str, Table], split: str, splits: TableSplits
) -> tuple[Table, Callable[[str], bool]]:
    """Return the table of a split, and a function that tells of an id whether it is in the split.

    Raises:
        ConfigError: no such way to split.
        SplitNotFoundError: there is no such split.
    """
    choosers = {"fraction": splits.by_fraction, "fold": splits.by_fold}
    chosen = splits.split_by
    if chosen == "auto":
        chosen = "fraction" if len(tables) == 1 else "names"
    if chosen not in (*choosers, "names"):
        raise ConfigError(f"data.split_by={chosen} is no way to split.", nearest(chosen, (*choosers, "names", "auto")))
    if chosen != "names" and split in ("train", "val"):
        whole = next(iter(tables)) if len(tables) == 1 else _named(tables, "train")
        if whole is not None:
            is_val = choosers[chosen]()
            return tables[whole], lambda name: is_val(name) == (split == "val")
    named = _named(tables, split)
    if named is None:
        raise SplitNotFoundError(
            f"{place} has no split {split!r}, but {', '.join(tables)}.",
            "data.split_by=fraction parts train into train and val; data.train_split= names one to train on.",
        )
    return tables[named], lambda name: True


def _named(tables: Mapping[str, Table], split: str) -> str | None:
    """Return the name that a split has in the dataset, which may be another one for the same."""
    return next((name for name in names_of_split(split) if name in tables), None)


def _check_options(columns: Columns, **options: Any) -> None:
    """Raise ConfigError for an option of the truth that is not chosen."""
    if columns.mask_column is not None and columns.objects_column is not None:
        raise ConfigError("data.mask_column and data.objects_column exclude each other.", "Leave one of them out.")
    needed = {"leave_out": "objects_column", "crowd": "objects_column", "colour_masks": "mask_column"}
    for option, value in options.items():
        if value and getattr(columns, needed[option]) is None:
            raise ConfigError(f"data.{option} goes with data.{needed[option]}.", f"Leave data.{option} out.")


def _check_columns(table: Table, columns: Columns) -> None:
    """Raise DatasetError if columns are not there or of another type, ConfigError if not one holds the truth."""
    table.check_images("image_column", columns.image_column)
    if columns.mask_column is not None:
        table.check_images("mask_column", columns.mask_column)
    elif columns.objects_column is not None:
        table.check_objects("objects_column", columns.objects_column)
    else:
        raise ConfigError(
            f"No column of {table.place} is named as the truth: there are {table.words}.",
            table.proposal(columns.image_column),
        )


def _ids(table: Table, columns: Columns) -> tuple[str, ...]:
    """Return the id of every row.

    Raises:
        DatasetError: the column of ids is not there, or has one twice or an empty one.
    """
    if columns.id_column is None:
        stems = [PurePosixPath(path or "").stem for path in table.paths(columns.image_column)]
        return tuple(stems) if all(stems) and len(set(stems)) == len(stems) else tuple(map(str, range(len(table))))
    table.check("id_column", columns.id_column)
    ids = tuple("" if value is None else str(value) for value in table.values(columns.id_column))
    twice = first_repeated(ids)
    if twice is not None or "" in ids:
        stated = f"{twice!r} twice" if twice is not None else "an empty id"
        raise DatasetError(f"The column {columns.id_column!r} of {table.place} has {stated}.", "Name another column.")
    return ids
