"""What the samples of a split add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from coatseg.data.inspection.facts import Counts, LabelFacts, ObjectFacts, SampleFacts, Unreadable
from coatseg.structures import DatasetInfo, Size

SMALL, LARGE = 32**2, 96**2
"""The areas in pixels between which COCO calls an object medium."""


@dataclass(frozen=True)
class SplitFacts:
    """What was read of a split, which has `total` samples.

    `repairs` say what its reader mended or left out of the annotations, a line each.
    """

    name: str
    info: DatasetInfo
    total: int
    samples: tuple[SampleFacts, ...]
    unreadable: tuple[Unreadable, ...]
    repairs: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every sample was looked at."""
        return len(self.samples) + len(self.unreadable) == self.total

    @cached_property
    def sizes(self) -> Counter[Size]:
        """How many images have each (height, width)."""
        return Counter(sample.size for sample in self.samples)

    @cached_property
    def kinds(self) -> Counter[tuple[int, str]]:
        """How many images have each number of channels and pixel type."""
        return Counter((len(sample.mean), sample.dtype) for sample in self.samples)

    @cached_property
    def statistics(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Give mean and standard deviation (C,) of all pixels, in units of the pixel scale; None without any."""
        good = [sample for sample in self.samples if not sample.not_finite]
        if not good or len({len(sample.mean) for sample in good}) > 1:
            return None
        weights = np.array([np.prod(sample.size) for sample in good], np.float64)[:, None]
        means = np.stack([sample.mean for sample in good])
        squares = np.stack([sample.std for sample in good]) ** 2 + means**2
        mean = (weights * means).sum(0) / weights.sum()
        return mean, np.sqrt(np.maximum((weights * squares).sum(0) / weights.sum() - mean**2, 0))

    @cached_property
    def labels(self) -> list[LabelFacts]:
        """The labels of pixels of each sample that has them."""
        return [sample.labels for sample in self.samples if sample.labels is not None]

    @cached_property
    def objects(self) -> list[ObjectFacts]:
        """The objects of each sample that is annotated with objects."""
        return [sample.objects for sample in self.samples if sample.objects is not None]

    @cached_property
    def class_pixels(self) -> Counts:
        """How many pixels each class has (K,)."""
        return self._summed([facts.pixels for facts in self.labels])

    @cached_property
    def class_images(self) -> Counts:
        """How many images show each class (K,), by a pixel or by an object."""
        shown = []
        for sample in self.samples:
            seen = np.zeros(len(self.info.classes), bool)
            if sample.labels is not None:
                seen |= sample.labels.pixels > 0
            if sample.objects is not None:
                seen |= _per_class(sample.objects, len(seen)) > 0
            shown.append(seen.astype(np.int64))
        return self._summed(shown)

    @cached_property
    def class_objects(self) -> Counts:
        """How many objects each class has (K,), crowds included."""
        return self._summed([_per_class(facts, len(self.info.classes)) for facts in self.objects])

    @cached_property
    def objects_per_image(self) -> Counts:
        """How many objects each image has."""
        return np.array([len(facts.labels) for facts in self.objects], np.int64)

    @cached_property
    def box_sides(self) -> npt.NDArray[np.float32]:
        """Width and height of every box (N, 2) in pixels."""
        return np.concatenate([np.zeros((0, 2), np.float32), *(facts.sides for facts in self.objects)])

    @property
    def object_sizes(self) -> dict[str, int]:
        """How many objects are small, medium and large, by COCO's limits on their area."""
        areas = np.concatenate([np.zeros(0), *(facts.areas for facts in self.objects)])
        small, large = int((areas < SMALL).sum()), int((areas >= LARGE).sum())
        return {"small": small, "medium": len(areas) - small - large, "large": large}

    def _summed(self, counts: list[Counts]) -> Counts:
        total: Counts = np.sum([np.zeros(len(self.info.classes), np.int64), *counts], axis=0)
        return total


def _per_class(objects: ObjectFacts, classes: int) -> Counts:
    known = objects.labels[(objects.labels >= 0) & (objects.labels < classes)]
    return np.bincount(known, minlength=classes).astype(np.int64)
