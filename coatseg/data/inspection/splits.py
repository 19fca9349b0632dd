"""The facts of a split, summed over its samples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from coatseg.data.inspection.counted import Counts
from coatseg.data.inspection.facts import LabelFacts, SampleFacts, Unreadable
from coatseg.data.inspection.object_facts import ObjectFacts
from coatseg.data.inspection.segment_facts import SegmentFacts
from coatseg.structures import DatasetInfo, Size

SMALL, LARGE = 32**2, 96**2
"""The limits of area, in pixels, between which COCO calls an object medium."""


@dataclass(frozen=True)
class SplitFacts:
    """The facts of the samples that were read of a split, which has `total` samples.

    `repairs` are lines on what its reader mended in the annotations or left out of them. `whole` says whether samples
    are whole images rather than windows drawn from them, and `has_truth` whether there are annotations at all.
    """

    name: str
    info: DatasetInfo
    total: int
    samples: tuple[SampleFacts, ...]
    unreadable: tuple[Unreadable, ...]
    repairs: tuple[str, ...]
    whole: bool = True
    has_truth: bool = True

    @property
    def complete(self) -> bool:
        """Whether every image was read, or found to be unreadable."""
        return self.whole and len(self.samples) + len(self.unreadable) == self.total

    @cached_property
    def sizes(self) -> Counter[Size]:
        """The number of images of each (height, width)."""
        return Counter(sample.size for sample in self.samples)

    @cached_property
    def kinds(self) -> Counter[tuple[int, str]]:
        """The number of images of each (number of channels, pixel type)."""
        return Counter((len(sample.mean), sample.dtype) for sample in self.samples)

    @cached_property
    def statistics(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Mean and standard deviation (C,) of the measured pixels, on the pixel scale; None if there are none."""
        good = [sample for sample in self.samples if sample.measured]
        if not good or len({len(sample.mean) for sample in good}) > 1:
            return None
        weights = np.array([sample.measured for sample in good], np.float64)[:, None]
        means = np.stack([sample.mean for sample in good])
        squares = np.stack([sample.std for sample in good]) ** 2 + means**2
        mean = (weights * means).sum(0) / weights.sum()
        return mean, np.sqrt(np.maximum((weights * squares).sum(0) / weights.sum() - mean**2, 0))

    @cached_property
    def labels(self) -> list[LabelFacts]:
        """The label facts of each sample with a label map or layers."""
        return [sample.labels for sample in self.samples if sample.labels is not None]

    @cached_property
    def objects(self) -> list[ObjectFacts]:
        """The object facts of each sample that is annotated with objects."""
        return [sample.objects for sample in self.samples if sample.objects is not None]

    @cached_property
    def segments(self) -> list[SegmentFacts]:
        """The segment facts of each sample with panoptic truth."""
        return [sample.segments for sample in self.samples if sample.segments is not None]

    @cached_property
    def class_pixels(self) -> Counts:
        """The number of pixels of each class (K,)."""
        return self._summed([facts.pixels for facts in self.labels])

    @cached_property
    def class_images(self) -> Counts:
        """The number of images that show each class (K,), by a pixel, an object or a segment."""
        shown = []
        for sample in self.samples:
            seen = np.zeros(len(self.info.classes), bool)
            if sample.labels is not None:
                seen |= sample.labels.pixels > 0
            if sample.objects is not None:
                seen |= _per_class(sample.objects, len(seen)) > 0
            if sample.segments is not None:
                seen |= sample.segments.per_class(len(seen)) > 0
            shown.append(seen.astype(np.int64))
        return self._summed(shown)

    @cached_property
    def class_objects(self) -> Counts:
        """The number of objects of each class (K,), crowds included."""
        return self._summed([_per_class(facts, len(self.info.classes)) for facts in self.objects])

    @cached_property
    def class_segments(self) -> Counts:
        """The number of segments of each class (K,), crowds included."""
        return self._summed([facts.per_class(len(self.info.classes)) for facts in self.segments])

    @cached_property
    def segments_per_image(self) -> Counts:
        """The number of segments in each image with panoptic truth."""
        return np.array([len(facts.labels) for facts in self.segments], np.int64)

    @cached_property
    def objects_per_image(self) -> Counts:
        """The number of objects in each image that is annotated with objects."""
        return np.array([len(facts.labels) for facts in self.objects], np.int64)

    @cached_property
    def box_sides(self) -> npt.NDArray[np.float64]:
        """Width and height of every box (N, 2) in pixels."""
        return np.concatenate([np.zeros((0, 2)), *(facts.sides for facts in self.objects)])

    @property
    def object_sizes(self) -> dict[str, int]:
        """The number of small, medium and large objects, by COCO's limits of area."""
        areas = np.concatenate([np.zeros(0), *(facts.areas for facts in self.objects)])
        small, large = int((areas < SMALL).sum()), int((areas >= LARGE).sum())
        return {"small": small, "medium": len(areas) - small - large, "large": large}

    def _summed(self, counts: list[Counts]) -> Counts:
        total: Counts = np.sum([np.zeros(len(self.info.classes), np.int64), *counts], axis=0)
        return total


def _per_class(objects: ObjectFacts, classes: int) -> Counts:
    known = objects.labels[(objects.labels >= 0) & (objects.labels < classes)]
    return np.bincount(known, minlength=classes).astype(np.int64)
