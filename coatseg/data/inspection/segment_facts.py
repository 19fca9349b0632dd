"""The facts kept of the panoptic segments of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coatseg.data.inspection.counted import Counts, counted
from coatseg.structures import DatasetInfo, Panoptic


@dataclass(frozen=True)
class SegmentFacts:
    """The segments of an image, N of them.

    labels (N,); crowd (N,); pixels (N,), how many each has in the map; `void`, how many have no segment, and `unlisted`
    how many have one that is not listed; `strangers` counts these segments, `unknown` those whose label is no class,
    `absent` those without a pixel, `misstated` those that have a pixel and another number of them than is stated, and
    `parted` those of stuff beyond the first of their class that are no crowd.
    """

    labels: Counts
    crowd: npt.NDArray[np.bool_]
    pixels: Counts
    void: int
    unlisted: int
    strangers: int
    unknown: int
    absent: int
    misstated: int
    parted: int

    def class_pixels(self, classes: int) -> Counts:
        """Return the number of pixels of each class (K,)."""
        known = (self.labels >= 0) & (self.labels < classes)
        pixels = np.zeros(classes, np.int64)
        np.add.at(pixels, self.labels[known], self.pixels[known])
        return pixels

    def per_class(self, classes: int) -> Counts:
        """Return the number of segments of each class (K,), crowds included."""
        known = self.labels[(self.labels >= 0) & (self.labels < classes)]
        return np.bincount(known, minlength=classes).astype(np.int64)


def segment_facts(panoptic: Panoptic, info: DatasetInfo) -> SegmentFacts:
    """Return the facts of the segments of an image."""
    segments = panoptic.segments
    numbers, counts = counted(panoptic.ids)
    there = dict(zip(numbers[counts > 0].tolist(), counts[counts > 0].tolist(), strict=True))
    void = there.pop(0, 0)
    labels = np.array([segment.label for segment in segments], np.int64)
    crowd = np.array([segment.crowd for segment in segments], bool)
    pixels = np.array([there.pop(segment.id, 0) for segment in segments], np.int64)
    stated = np.array([np.nan if segment.area is None else segment.area for segment in segments], np.float64)
    stuff = labels[~np.isin(labels, info.things) & ~crowd]
    return SegmentFacts(
        labels=labels,
        crowd=crowd,
        pixels=pixels,
        void=void,
        unlisted=sum(there.values()),  # what the list has not taken out
        strangers=len(there),
        unknown=int(((labels < 0) | (labels >= len(info.classes))).sum()),
        absent=int((pixels == 0).sum()),
        misstated=int(((pixels > 0) & ~np.isnan(stated) & (stated != pixels)).sum()),
        parted=len(stuff) - len(np.unique(stuff)),
    )
