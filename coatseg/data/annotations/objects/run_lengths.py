"""Run lengths as Kaggle writes them, and those of a mask cut out of an image, as COCO's form has them.

Kaggle's are pairs of a start and a length, counted from 1, column by column; its competitions state them on their
pages, such as https://www.kaggle.com/c/airbus-ship-detection/overview/evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import faster_coco_eval.core.mask as coco_masks
import numpy as np
import numpy.typing as npt

from coatseg.structures import Size

NO_OBJECT = frozenset({"", "-1"})


class RunLengthError(ValueError):
    """Run lengths that make no sense; says what is wrong, in words that follow their place."""


@dataclass(frozen=True)
class Runs:
    """The runs of an object's pixels, (N,) int64 each: their first pixels, and those after their last.

    Pixels are counted from 0, column by column, in an image of `size`.
    """

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    size: Size

    @classmethod
    def of_counts(cls, counts: npt.NDArray[np.int64], size: Size) -> Self:
        """Return the runs of COCO's uncompressed run lengths: background first, in turn."""
        edges = np.cumsum(counts[: len(counts) // 2 * 2])
        there = edges[1::2] > edges[::2]
        return cls(edges[::2][there], edges[1::2][there], size)

    @property
    def area(self) -> int:
        """How many pixels there are."""
        return int((self.ends - self.starts).sum())

    def segmentation(self) -> dict[str, Any]:
        """Return the runs as COCO's uncompressed run lengths: background first, in turn."""
        edges = np.stack([self.starts, self.ends], 1).ravel()
        counts = np.diff(np.concatenate([[0], edges, [self.size[0] * self.size[1]]]))
        return {"size": list(self.size), "counts": counts.tolist()}

    def bbox(self) -> list[float]:
        """Return the box of the pixels, of which there is at least one: x, y, width and height."""
        height = self.size[0]
        first, last = self.starts // height, (self.ends - 1) // height
        low, high = self.starts % height, (self.ends - 1) % height
        # A run of two columns reaches the bottom of the one and the top of the other.
        top, bottom = (0, height - 1) if (last > first).any() else (int(low.min()), int(high.max()))
        left, right = int(first[0]), int(last[-1])
        return [float(left), float(top), float(right - left + 1), float(bottom - top + 1)]


def read_runs(text: str, size: Size) -> Runs | None:
    """Read Kaggle's run lengths of an object in an image of this (height, width); None where there is no object.

    Raises:
        RunLengthError: they are no pairs, not sorted, overlap, or end outside the image.
    """
    words = text.split()
    if " ".join(words) in NO_OBJECT:
        return None
    try:
        numbers = np.array([int(word) for word in words], np.int64)
    except (ValueError, OverflowError) as error:
        raise RunLengthError(f"has run lengths that are no whole numbers: {text[:40]!r}") from error
    if len(numbers) % 2:
        raise RunLengthError(f"has {len(numbers)} numbers as run lengths, which are no pairs of a start and a length")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    ends = starts + lengths
    for wrong, what in (
        (lengths < 1, "which has no pixel"),
        (starts < 0, "and pixels are counted from 1"),
        (np.concatenate([[False], starts[1:] < ends[:-1]]), "which overlaps the one before it, or comes before it"),
        (ends > size[0] * size[1], f"which ends outside its image of {size[0]}x{size[1]} pixels"),
    ):
        if wrong.any():
            place = int(wrong.argmax())
            raise RunLengthError(f"has the run {starts[place] + 1} {lengths[place]}, {what}")
    return Runs(starts, ends, size)


def runs_of_crop(crop: npt.NDArray[np.bool_], y: int, x: int, size: Size) -> Runs | None:
    """Return the runs of a mask (h, w) whose corner is at (y, x) of an image; None where it has no pixel."""
    height = crop.shape[0] + 1
    padded = np.zeros((crop.shape[1], height), np.int8)  # a pixel of background ends each column
    padded[:, :-1] = crop.T
    steps = np.diff(padded.ravel(), prepend=0)
    if not steps.any():
        return None
    starts, ends = np.flatnonzero(steps > 0), np.flatnonzero(steps < 0)
    places = [(x + edges // height) * size[0] + y + edges % height for edges in (starts, ends)]
    return Runs(places[0], places[1], size)


def united(segmentations: Sequence[Any], size: Size) -> tuple[dict[str, Any], list[float]]:
    """Return all pixels in any of several segmentations of COCO's form at (height, width), as run lengths.

    The second is their box: x, y, width and height.
    """
    coded: list[Any] = []
    for segmentation in segmentations:
        made = coco_masks.frPyObjects(segmentation, *size)
        coded.extend(made if isinstance(made, list) else [made])
    merged = coco_masks.merge(coded)
    return {"size": list(size), "counts": merged["counts"].decode()}, coco_masks.toBbox(merged).tolist()
