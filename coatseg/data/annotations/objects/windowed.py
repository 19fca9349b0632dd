"""The objects in a window of an image: what of each lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.objects.annotations import ObjectAnnotations
from coatseg.data.annotations.objects.columns import unfitting
from coatseg.data.annotations.objects.run_lengths import Runs
from coatseg.data.annotations.objects.segmentations import SegmentationError, painted
from coatseg.data.images.raster import Window
from coatseg.structures import Instances, Size

Places = npt.NDArray[np.int64]
ROUNDING = 1.0
"""Pixels by which the pixels of a polygon may reach out of its points, to be sure: the painter rounds to fifths."""


@dataclass(frozen=True)
class WindowedObjects:
    """Objects, and the boxes (N, 4) that hold all their pixels; the stated ones may not.

    These are the extents of polygons, and infinite for run lengths, which only decoding tells.
    """

    objects: ObjectAnnotations
    reach: npt.NDArray[np.float64]

    @classmethod
    def of(cls, objects: ObjectAnnotations) -> Self:
        """Find out where objects may be."""
        if objects.segmentations is None:
            return cls(objects, objects.boxes)
        extents = objects.segmentations.extents()[objects.numbers] + [-ROUNDING, -ROUNDING, ROUNDING, ROUNDING]
        return cls(objects, np.where(np.isnan(extents), [-np.inf, -np.inf, np.inf, np.inf], extents))

    def instances(self, row: int, image: Size, window: Window) -> Instances:
        """Return the objects of image `row`, which has the size `image`, that have a pixel in a window of it.

        Without masks, they are those whose box has a part in it. Boxes are those of what is left of the masks, or
        clipped, and areas those of the pixels that are left.

        Raises:
            DatasetError: the run lengths of a mask do not fill the image.
        """
        places, objects, size = self.places(row, window), self.objects, (window.height, window.width)
        if objects.segmentations is None:
            corner, limits = [window.x, window.y] * 2, [window.width, window.height] * 2
            boxes = (objects.boxes[places] - np.array(corner)).clip(0, limits)
            return Instances(boxes, objects.labels[places], None, objects.crowd[places])
        counts = self.runs(places, image, window)
        runs = [Runs.of_counts(one, size) for one in counts]
        seen = [number for number, one in enumerate(runs) if len(one.starts)]
        boxes = np.array([runs[number].bbox() for number in seen], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        areas = np.array([runs[number].area for number in seen], np.float64)
        places, masks = places[seen], painted([counts[number] for number in seen], size)
        return Instances(boxes, objects.labels[places], masks, objects.crowd[places], areas)

    def places(self, row: int, window: Window) -> Places:
        """Return the places among all objects of those of image `row` that may have a pixel in a window, in order."""
        own = slice(self.objects.begins[row], self.objects.begins[row + 1])
        x1, y1, x2, y2 = self.reach[own].T
        there = (x1 < window.x + window.width) & (y1 < window.y + window.height) & (x2 > window.x) & (y2 > window.y)
        places: Places = np.arange(own.start, own.stop)[there]
        return places

    def runs(self, places: Places, image: Size, window: Window) -> list[npt.NDArray[np.int64]]:
        """Return the run lengths of the objects at `places`, all of one image of this size, in a window of it.

        Raises:
            DatasetError: the run lengths of a mask do not fill the image.
        """
        objects = self.objects
        if objects.segmentations is None:
            raise ValueError(f"{objects.path} has objects without masks")
        try:
            return objects.segmentations.runs(objects.numbers[places].tolist(), image, window)
        except SegmentationError as error:
            raise unfitting(objects.path, objects.places[error.number], error.what) from error
