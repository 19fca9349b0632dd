"""Rows of the csv files of Kaggle's competitions: an image, the run lengths of an object in it, and perhaps a class."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coatseg.data.annotations.classes import first_repeated
from coatseg.errors import ConfigError, DatasetError

Part = Literal["image", "runs", "class"]

KNOWN: Mapping[Part, tuple[str, ...]] = {
    "image": ("imageid", "image_id", "id", "img_id", "image", "filename", "file_name"),
    "runs": ("encodedpixels", "encoded_pixels", "rle", "segmentation", "rle_mask", "annotation"),
    "class": ("classid", "class_id", "class", "label", "category", "cell_type"),
}
"""What competitions call the columns, in lower case; the first that is there is taken."""
BOTH = ("imageid_classid", "image_label")
"""Columns of an image and, after the last _, a class."""
LONGEST = 2**31 - 1
"""The longest field that is read; the limit of Python's csv is 131,072 characters, which a mask may exceed."""


@dataclass(frozen=True)
class Row:
    """A row: the line of the file where it ends, its image, the run lengths as text, and the class or None."""

    line: int
    image: str
    runs: str
    label: str | None


@dataclass(frozen=True)
class RunLengthTable:
    """A csv at `path`: its column for each part, and those that are not read."""

    path: Path
    columns: Mapping[Part, int]
    unread: tuple[str, ...]
    both: bool

    def rows(self) -> Iterator[Row]:
        """Yield the rows one by one.

        Raises:
            DatasetError: a row has fewer or more fields than the header, or is no text.
        """
        for line, fields in _lines(self.path, skip=1):
            image, runs = fields[self.columns["image"]].strip(), fields[self.columns["runs"]].strip()
            label = fields[self.columns["class"]].strip() if "class" in self.columns else None
            if self.both:
                image, _, label = image.rpartition("_")
            if not image or label == "":
                raise DatasetError(f"{self.path}, line {line} has no {'class' if image else 'image'}.", "Add it there.")
            yield Row(line, image, runs, label)


def read_table(path: Path, columns: Mapping[Part, str]) -> RunLengthTable:
    """Read the header of a csv; `columns` names those that are called otherwise than usual.

    Raises:
        ConfigError: a column that is named is not there.
        DatasetError: the csv cannot be read, or a column is not found.
    """
    header = next((fields for _, fields in _lines(path)), [])
    twice = first_repeated(header)
    if twice is not None:
        raise DatasetError(f"{path} has the column {twice!r} twice.", "Give each column a name of its own.")
    lower = [name.strip().lower() for name in header]
    found: dict[Part, int] = {}
    for part, name in columns.items():
        if name not in header:
            raise ConfigError(f"data.columns.{part}={name} is no column of {path}.", f"It has {', '.join(header)}.")
        found[part] = header.index(name)
    both = None if found.keys() & {"image", "class"} else next((name for name in BOTH if name in lower), None)
    for part, known in KNOWN.items():
        usual = (both,) if both and part == "image" else known
        there = next((name for name in usual if name in lower), None)
        if part not in found and there is not None and not (both and part == "class"):
            found[part] = lower.index(there)
    for part in ("image", "runs"):
        if part not in found:
            raise DatasetError(
                f"{path} has no column of {'images' if part == 'image' else 'run lengths'} that is known; it has "
                f"{', '.join(header) or 'none'}.",
                f"Name it with data.columns.{part}=NAME.",
            )
    unread = tuple(name for place, name in enumerate(header) if place not in found.values())
    return RunLengthTable(path, found, unread, both is not None)


def _lines(path: Path, skip: int = 0) -> Iterator[tuple[int, Sequence[str]]]:
    csv.field_size_limit(LONGEST)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            count = None
            for number, fields in enumerate(reader):
                if not fields:
                    continue
                count = len(fields) if count is None else count
                if len(fields) != count:
                    raise DatasetError(
                        f"{path}, line {reader.line_num} has {len(fields)} fields, and the header {count}.",
                        "Correct it there, or copy the file again.",
                    )
                if number >= skip:
                    yield reader.line_num, fields
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as csv: {error}.", "Save it as UTF-8, with commas.") from error
