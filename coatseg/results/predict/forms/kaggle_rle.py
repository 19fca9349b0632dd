"""for=kaggle_rle: a csv of run lengths, as many contests of Kaggle take it.

Pixels are counted from 1, down the columns from the left; EncodedPixels are pairs of a start and a length, sorted, and
objects of an image have no pixel in common. An image without any has one row that names it and is empty beyond.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.classes import first_repeated
from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.errors import ConfigError, nearest
from coatseg.results.predict.canvas import Written
from coatseg.results.predict.forms.regions import regions_of, size_of
from coatseg.results.predict.forms.submission import stem_of, zip_words
from coatseg.results.predict.writers import FileWriter
from coatseg.structures import DatasetInfo, InstancePrediction, Pixels
from coatseg.system.fsspec_folders import Place

FOLDER = "rows"
FILE = "submission.csv"
BACKGROUND = "background"


class KaggleRows(FileWriter):
    """Writes submission.csv, joined of rows/ID.json: a row an object, or a row a class of a label map or layers.

    `columns` are the names of the columns for the image and its run lengths, or for the image, the class and its run
    lengths; with a class column, label maps and layers have a row for every class, empty where it is not. `classes` are
    those that are written, by default all but one called background; without a class column there must be one. With
    `suffix`, images are named with the suffix of their files. Where objects overlap, the surer one keeps the pixels.

    Raises:
        ConfigError: there is no such class, or the csv could not tell several apart.
    """

    files = (FILE,)
    folders = (FOLDER,)
    of_things = False

    def __init__(
        self,
        place: Place,
        info: DatasetInfo,
        *,
        columns: list[str] | None = None,
        classes: list[str] | None = None,
        suffix: bool = False,
    ) -> None:
        super().__init__(place, info)
        self.columns = columns or ["ImageId", "EncodedPixels"]
        self.suffix = suffix
        things = info.things if self.of_things and info.things else range(len(info.classes))
        chosen = classes or [name for name in map(info.classes.__getitem__, things) if name != BACKGROUND]
        _check_classes(chosen, info)
        _check_columns(self.columns, chosen)
        self.labels = [info.classes.index(name) for name in chosen]

    def write(self, source: Source, written: Written, tags: GeoTags | None) -> None:
        """Write the rows of an image: pairs of a class name and run lengths."""
        rows = list(self._rows(written))
        self.place.write(self.path(source), json.dumps(rows).encode())

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Join the rows; images are named by the last part of their paths if these differ."""
        super().conclude(sources, pictures=pictures)
        names = [PurePosixPath(source.name).name if self.suffix else stem_of(source) for source in sources]
        if len(set(names)) < len(names):
            names = [source.name if self.suffix else source.id for source in sources]
        whole = [(source, name) for source, name in zip(sources, names, strict=True) if self.done(source)]
        with self.place.writing(FILE) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
            lines = csv.writer(text, lineterminator="\n")
            lines.writerow(self.columns)
            for source, name in whole:
                rows: list[list[Any]] = json.loads(self.place.read(self.path(source)))
                lines.writerows([name, *row[-(len(self.columns) - 1) :]] for row in rows or [["", ""]])
            text.detach()
        return zip_words(FILE, len(whole), len(sources))

    def _rows(self, written: Written) -> Iterator[tuple[str, str]]:
        names = self.info.classes
        if isinstance(written, InstancePrediction):
            taken = np.zeros(written.size, bool)
            for region in regions_of(written, self.info):  # the surest first
                if region.label in self.labels:
                    mask = region.whole_mask(written.size) & ~taken
                    taken |= mask
                    if mask.any():
                        yield names[region.label], run_lengths(mask)
            return
        found = {region.label: region for region in regions_of(written, self.info)}
        for label in self.labels:
            if label in found:
                yield names[label], run_lengths(found[label].whole_mask(size_of(written)))
            elif len(self.columns) == 3:
                yield names[label], ""


def _check_classes(chosen: Sequence[str], info: DatasetInfo) -> None:
    if strange := [name for name in chosen if name not in info.classes]:
        raise ConfigError(f"for.classes: there is no class {strange[0]}.", nearest(strange[0], info.classes))
    if (twice := first_repeated(chosen)) is not None:
        raise ConfigError(f"for.classes has {twice} twice.", "Name each class once.")


def _check_columns(columns: Sequence[str], chosen: Sequence[str]) -> None:
    if len(columns) not in (2, 3) or len(set(columns)) < len(columns):
        raise ConfigError(
            f"for.columns has {len(columns)} names{' and one of them twice' * (len(set(columns)) < len(columns))}.",
            "Name two, for.columns=[ImageId,EncodedPixels], or three, for.columns=[ImageId,ClassId,EncodedPixels].",
        )
    if len(columns) == 2 and len(chosen) > 1:
        raise ConfigError(
            f"A csv of the columns {' and '.join(columns)} cannot tell {len(chosen)} classes apart.",
            f"Choose one with for.classes=[{chosen[0]}], or name a column for it: "
            "for.columns=[ImageId,ClassId,EncodedPixels].",
        )


class KaggleObjects(KaggleRows):
    """The same for objects, whose classes are those that have instances."""

    of_things = True
    any_score = True


def run_lengths(mask: Pixels) -> str:
    """Return the runs of a bool mask (H, W) as text: starts, counted from 1 down the columns, and lengths in turn."""
    column_major: npt.NDArray[np.bool_] = np.concatenate([[False], mask.T.ravel(), [False]])
    edges = np.flatnonzero(column_major[1:] != column_major[:-1])
    runs = np.stack([edges[::2] + 1, edges[1::2] - edges[::2]], axis=1)
    return " ".join(map(str, runs.ravel().tolist()))
