"""Label maps in the numbers of a dataset's own files in place of class numbers: numbers=dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coatseg.errors import ConfigError
from coatseg.registry.names import table
from coatseg.structures import DatasetInfo, Pixels

NUMBERS = ("classes", "dataset")
"""The values of numbers=."""
LARGEST = 2**16 - 1
"""The largest number that a PNG holds."""


@dataclass(frozen=True)
class Numbering:
    """The number in a file of each class, in the order of the classes, and of pixels that have none."""

    classes: tuple[int, ...]
    nothing: int

    def __call__(self, labels: Pixels) -> Pixels:
        """Return class numbers (H, W), uint8 or uint16, as numbers of the file, in uint8 if these fit."""
        dtype = np.uint8 if max(*self.classes, self.nothing) < 256 else np.uint16
        numbers = np.full(np.iinfo(labels.dtype).max + 1, self.nothing, dtype)
        numbers[: len(self.classes)] = self.classes
        return numbers.take(labels)


def dataset_numbering(info: DatasetInfo) -> Numbering:
    """Return the numbers of the dataset's own files; they are the class numbers where its reader states no others.

    Pixels without a class get 0 where no class has it, as Cityscapes', ADE20K's and COCO panoptic's files have it, else
    the ignore index where no class has that, else the smallest number that is left.

    Raises:
        ConfigError: no file of labels holds such numbers.
    """
    numbers = category_ids(info)
    if not numbers:
        return Numbering(tuple(range(len(info.classes))), info.ignore_index)
    if min(numbers) < 0 or max(numbers) > LARGEST:
        wrong = next(number for number in numbers if not 0 <= number <= LARGEST)
        raise ConfigError(
            f"numbers=dataset: {info.name} has the number {wrong} for {info.classes[numbers.index(wrong)]}, and a PNG "
            f"holds 0 to {LARGEST}.",
            "Leave numbers out.",
        )
    free = (0, info.ignore_index, *range(LARGEST + 1))
    return Numbering(numbers, next(number for number in free if number not in numbers and 0 <= number <= LARGEST))


def category_ids(info: DatasetInfo) -> tuple[int, ...]:
    """Return the numbers that the dataset's own files give the classes, empty where they are the class numbers.

    Checkpoints from before a reader stated them have none: for these, they are those of the reader of that name, if it
    has the same classes.
    """
    if info.category_ids:
        return info.category_ids
    reader = table("dataset").get(info.name)
    known = getattr(reader, "info", None)
    if isinstance(known, DatasetInfo):
        return known.category_ids if known.classes == info.classes else ()
    published = getattr(reader, "published", {})
    return tuple(published[name] for name in info.classes) if set(info.classes) <= set(published) else ()


def numbering_of(info: DatasetInfo, known: DatasetInfo, form: str, nothing: int) -> Numbering:
    """Return the numbers that the tools of the dataset `known` want, for a model with these or some of its classes.

    Raises:
        ConfigError: the model has another class.
    """
    numbers = dict(zip(known.classes, known.category_ids or range(len(known.classes)), strict=True))
    return Numbering(numbers_by_name(info.classes, numbers, form), nothing)


def numbers_by_name(classes: Sequence[str], numbers: dict[str, int], form: str) -> tuple[int, ...]:
    """Return the number of each class.

    Raises:
        ConfigError: one has none.
    """
    strange = [name for name in classes if name not in numbers]
    if strange:
        raise ConfigError(
            f"for={form} has no class {strange[0]}.",
            f"Predict with a model trained on its classes: {', '.join(list(numbers)[:3])}, ... ({len(numbers)}).",
        )
    return tuple(numbers[name] for name in classes)
