"""The tables of an inspection, for the terminal and for Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.inspection.reading import Inspection
from coatseg.data.inspection.splits import LARGE, SMALL, SplitFacts

MOST_SIZES = 8

CLASS_NOTES: Mapping[str, str] = {
    "semantic": "Pixels are shares of those that are not ignored.",
    "multilabel": "Pixels are shares of all; classes may overlap.",
    "boxes": "",
    "instances": "",
    "panoptic": "Segments are counted with crowds.",
}
"""For each truth, how to read its columns in the table of classes; nothing where they are plain counts."""


@dataclass(frozen=True)
class Table:
    """Rows of text under columns, of which all but the first are aligned right; `note` says how to read them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> list[str]:
        """Return the table, with its title and note, as lines of Markdown."""
        rule = ("---", *("---:" for _ in self.columns[1:]))
        lines = [f"| {' | '.join(row)} |" for row in (self.columns, rule, *self.rows)]
        return [f"## {self.title}", "", *lines, "", *([self.note, ""] if self.note else [])]


def tables(inspection: Inspection) -> list[Table]:
    """Return the tables of an inspection: its splits, the sizes of its images, its classes."""
    return [splits_table(inspection.splits), sizes_table(inspection.splits), classes_table(inspection)]


def splits_table(splits: Sequence[SplitFacts]) -> Table:
    """Return a table that compares the splits; rows that are empty for all of them are left out."""
    rows = ((name, *(write(split) for split in splits)) for name, write in LINES.items())
    note = "Three numbers are the least, the median and the greatest."
    if any(split.objects for split in splits):
        small, large = round(SMALL**0.5), round(LARGE**0.5)
        note += (
            f" Objects are small below an area of {small}x{small} pixels and large from {large}x{large} on, as COCO "
            "counts: the area that is annotated, else the mask's, else the box's."
        )
    kept = tuple(row for row in rows if any(row[1:]))
    return Table("Splits", ("", *(split.name for split in splits)), kept, note)


def sizes_table(splits: Sequence[SplitFacts]) -> Table:
    """Return a table of the most common sizes of images."""
    total = sum((split.sizes for split in splits), Counter())
    rows = [(f"{height}x{width}", *(str(split.sizes[height, width]) for split in splits))
            for (height, width), _ in total.most_common(MOST_SIZES)]  # fmt: skip
    more = len(total) - len(rows)
    note = f"{more} more sizes are less common." if more > 0 else ""
    return Table("Sizes of images", ("height x width", *(split.name for split in splits)), tuple(rows), note)


def classes_table(inspection: Inspection) -> Table:
    """Return a table of each class's pixels, images, objects and segments, the most common in the first split first."""
    splits, info = inspection.splits, inspection.info
    columns, cells = ["class"], []
    for split in splits:
        for name, column in _class_columns(split):
            columns.append(f"{split.name} {name}")
            cells.append(column)
    counted = splits[0].class_pixels if splits[0].labels else splits[0].class_objects
    listed = range(len(info.classes)) if any(split.labels for split in splits) else info.things
    order = sorted(listed, key=lambda number: -counted[number])
    rows = tuple((info.classes[number], *(column[number] for column in cells)) for number in order)
    notes = [note for truth, note in CLASS_NOTES.items() if note and truth in info.annotates]
    return Table("Classes", tuple(columns), rows, " ".join(notes))


def _class_columns(split: SplitFacts) -> Iterator[tuple[str, list[str]]]:
    if split.labels:
        yield "pixels (%)", [f"{100 * share:.2f}" for share in _shares(split)]
    if not (split.labels and split.objects):
        yield "images", [str(count) for count in split.class_images]
    if split.objects:
        yield "objects", [str(count) for count in split.class_objects]
    if split.segments:
        yield "segments", [str(count) for count in split.class_segments]


def _shares(split: SplitFacts) -> npt.NDArray[np.float64]:
    total = sum(facts.total for facts in split.labels)
    if "multilabel" in split.info.annotates:
        return split.class_pixels / max(1, total // len(split.info.classes))
    return split.class_pixels / max(1, total - sum(facts.ignored for facts in split.labels))


def _samples(split: SplitFacts) -> str:
    return str(split.total) if split.complete else f"{len(split.samples) + len(split.unreadable)} of {split.total}"


def _ignored(split: SplitFacts) -> str:
    total = sum(facts.total for facts in split.labels)
    return f"{sum(facts.ignored for facts in split.labels) / total:.2%}" if total else ""


def _void(split: SplitFacts) -> str:
    void = sum(facts.void for facts in split.segments)
    total = sum(int(facts.pixels.sum()) + facts.void + facts.unlisted for facts in split.segments)
    return f"{void / total:.2%}" if total else ""


def _things_and_stuff(split: SplitFacts) -> str:
    if not split.segments:
        return ""
    things = int(split.class_segments[list(split.info.things)].sum())
    return f"{things} / {split.class_segments.sum() - things}"


def _without_data(split: SplitFacts) -> str:
    nothing = sum(sample.without_data + sample.stated for sample in split.samples)
    total = sum(height * width for height, width in (sample.size for sample in split.samples))
    return f"{nothing / total:.2%}" if nothing else ""


def _statistics(split: SplitFacts, number: int) -> str:
    return "" if split.statistics is None else " ".join(f"{value:.3f}" for value in split.statistics[number])


def _range(values: npt.NDArray[Any], write: str = "{:.0f}") -> str:
    """Return the least, the median and the greatest value as text."""
    if not len(values):
        return ""
    return " / ".join(write.format(value) for value in (values.min(), np.median(values), values.max()))


def _sides(split: SplitFacts, number: int) -> str:
    return _range(np.array([sample.size[number] for sample in split.samples]))


def _kinds(split: SplitFacts) -> str:
    kinds = split.kinds.most_common()
    return ", ".join(f"{channels} x {dtype}" + (f" ({n})" if len(kinds) > 1 else "") for (channels, dtype), n in kinds)


LINES: dict[str, Callable[[SplitFacts], str]] = {
    "samples": _samples,
    "not readable": lambda split: str(len(split.unreadable)) if split.unreadable else "",
    "height": lambda split: _sides(split, 0),
    "width": lambda split: _sides(split, 1),
    "channels and type": _kinds,
    "mean of each channel": lambda split: _statistics(split, 0),
    "standard deviation": lambda split: _statistics(split, 1),
    "pixels without data": _without_data,
    "ignored pixels": _ignored,
    "objects": lambda split: str(split.class_objects.sum()) if split.objects else "",
    "objects an image": lambda split: _range(split.objects_per_image),
    "images without objects": lambda split: str((split.objects_per_image == 0).sum()) if split.objects else "",
    "crowds": lambda split: str(sum(facts.crowd.sum() for facts in split.objects)) if split.objects else "",
    "segments": lambda split: str(split.class_segments.sum()) if split.segments else "",
    "segments of things / of stuff": _things_and_stuff,
    "segments an image": lambda split: _range(split.segments_per_image),
    "images without segments": lambda split: str((split.segments_per_image == 0).sum()) if split.segments else "",
    "segments that are crowds": lambda split: (
        str(sum(facts.crowd.sum() for facts in split.segments)) if split.segments else ""
    ),
    "void pixels": _void,
    "box width": lambda split: _range(split.box_sides[:, 0], "{:.3g}"),
    "box height": lambda split: _range(split.box_sides[:, 1], "{:.3g}"),
    "objects, small / medium / large": lambda split: (
        " / ".join(str(count) for count in split.object_sizes.values()) if split.objects else ""
    ),
}
"""The rows of the table of splits: for each name, the function that writes a split's entry."""
