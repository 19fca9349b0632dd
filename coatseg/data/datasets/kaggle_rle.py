"""Images and a csv of run lengths, as Kaggle's competitions hand them out. The layouts are drawn in data/README.md."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coatseg.data.annotations.formats.kaggle_csv import Part, Row, RunLengthTable, read_table
from coatseg.data.annotations.objects.entries import ObjectEntries
from coatseg.data.annotations.objects.options import ClassChoice, ObjectOptions
from coatseg.data.annotations.objects.run_lengths import RunLengthError, read_runs
from coatseg.data.images.reading import IMAGE_SUFFIXES, read_size
from coatseg.data.images.walking import walk
from coatseg.data.readers.own_objects import OwnObjects
from coatseg.data.trees.annotation_files import AnnotatedImage, AnnotationFiles, check_root, decide, pairs_of_split
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.data.trees.split_paths import path_of_split
from coatseg.errors import DatasetError, DatasetNotFoundError, listed
from coatseg.registry.names import register

CSV = frozenset({".csv"})
ONE_CLASS = "object"


@register("dataset", "kaggle_rle")
class KaggleRle(OwnObjects):
    """The `split` of images under `root` and a csv of the run lengths of their objects, a row an object.

    `files` says where they are: the folder of the images and the csv, in whose path SPLIT stands for the name of the
    split if there is one for each; and what an image without a row is. A row without run lengths, or of -1, says that
    its image shows nothing. `columns` names the columns for image, runs and class where they are called otherwise than
    usual; without a class there is one, "object". With `semantic`, label maps are painted of the rows, with a
    background in front of the classes.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: `root`, the csv or the folder of the images is missing.
        DatasetError: no such split, an empty one, images without a row, a row of no image, run lengths that make no
            sense.
    """

    facts_in_words = ("by its csv", "boxes, instances, or semantic")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        files: AnnotationFiles = AnnotationFiles(images="images", annotations="train.csv", split_by="fraction"),
        choice: ClassChoice = ClassChoice(),
        columns: Mapping[Part, str] | None = None,
        semantic: bool = False,
    ) -> None:
        root = Path(root)
        check_root(root)
        table = read_table(_csv_of(root, files.annotations, split), columns or {})
        pairs = pairs_of_split(root, split, files.images, CSV, files).pairs
        rows = _rows(table, pairs, root)
        images = [
            AnnotatedImage(pair.id, pair.image, table.path if pair.id in rows.of_images else None) for pair in pairs
        ]
        where, hint = f"the split {split!r} of {root}", "or add a row without run lengths for each of these."
        kept = decide(images, where, f"no row in {table.path}", hint, files.without_annotation)
        entries = ObjectEntries(rows.classes)
        for image in kept.images:
            _add(entries, image, root, rows, table.path)
        objects = entries.collected(table.path, ObjectOptions(classes=choice.classes, leave_out=choice.leave_out))
        lines = [f"columns of {table.path.name} that are not read: {listed(table.unread)}"] if table.unread else []
        lines = [*kept.lines, *lines]
        super().__init__(root.resolve().name, root, objects, lines=lines, semantic=semantic)


@dataclass(frozen=True)
class _Rows:
    """The classes in all rows of a csv, and the rows of each image of a split by its id."""

    classes: tuple[str, ...]
    of_images: Mapping[str, Sequence[Row]]


def _rows(table: RunLengthTable, pairs: Sequence[MaskedImage], root: Path) -> _Rows:
    """Sort the rows by the images of a split, which they name by path or name, with or without the suffix.

    Raises:
        DatasetError: a row names no image below the root, or the csv has no rows.
    """
    names = _names(pairs)
    others: set[str] | None = None
    classes: set[str] = set()
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for row in table.rows():
        classes.add(ONE_CLASS if row.label is None else row.label)
        if row.image in names:
            rows[names[row.image]].append(row)
            continue
        others = _all_names(root) if others is None else others
        if row.image not in others:
            raise DatasetError(
                f"{table.path}, line {row.line} is of the image {row.image!r}, which is not below {root}.",
                "Name the folder of the images with data.images=, or take the row out.",
            )
    if not classes:
        raise DatasetError(f"{table.path} has no rows.", "Copy it again.")
    return _Rows(tuple(sorted(classes, key=_in_order)), dict(rows))


def _in_order(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (sys.maxsize, name)


def _names(pairs: Sequence[MaskedImage]) -> dict[str, str]:
    """Map what a row may call an image to its id, where that is of one image only."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        for name in (pair.id, f"{pair.id}{pair.image.suffix}", pair.image.name, pair.image.stem):
            found[name].add(pair.id)
    return {name: ids.pop() for name, ids in found.items() if len(ids) == 1}


def _all_names(root: Path) -> set[str]:
    images = [path for path in walk(root) if path.suffix.lower() in IMAGE_SUFFIXES]
    whole = {str(path.relative_to(root).with_suffix("").as_posix()) for path in images}
    return {name for path in images for name in (path.name, path.stem)} | whole


def _add(entries: ObjectEntries, image: AnnotatedImage, root: Path, rows: _Rows, path: Path) -> None:
    size = read_size(image.image, 3)
    entries.add_image(image.id, image.image.relative_to(root).as_posix(), size)
    for row in rows.of_images.get(image.id, ()):
        place = f"line {row.line}"
        try:
            runs = read_runs(row.runs, size)
        except RunLengthError as error:
            raise DatasetError(
                f"{path}, {place} {error}.",
                "Run lengths are pairs of a start, counted from 1 down the columns, and a length, in order.",
            ) from error
        if runs is not None:
            label = rows.classes.index(ONE_CLASS if row.label is None else row.label)
            entries.add(label, place, segmentation=runs.segmentation(), bbox=runs.bbox())


def _csv_of(root: Path, stated: str, split: str) -> Path:
    """Return the csv of a split.

    Raises:
        DatasetNotFoundError: there is none.
    """
    path = path_of_split(root, "annotations", stated, split)
    if not path.is_file():
        there = sorted(path.name for path in root.glob("*.csv"))
        hint = f"There {'is' if len(there) == 1 else 'are'} {listed(there)}. " if there else ""
        raise DatasetNotFoundError(f"There is no {path}.", f"{hint}Name the csv with data.annotations=.")
    return path
