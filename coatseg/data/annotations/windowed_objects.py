"""The objects in a window of an image: what of each lies in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.coco_columns import unfitting
from coatseg.data.annotations.objects import ObjectAnnotations
from coatseg.data.annotations.run_lengths import Runs
from coatseg.data.annotations.segmentations import SegmentationError, painted
from coatseg.data.images.raster import Window
from coatseg.structures import Instances, Size


def instances_in(objects: ObjectAnnotations, row: int, image: Size, window: Window) -> Instances:
    """Return the objects of image `row`, which has the size `image`, that have a pixel in a window of it.

    Without masks, they are those whose box has a part in it. Boxes are those of what is left of the masks, or clipped,
    and areas those of the pixels that are left.

    Raises:
        DatasetError: the run lengths of a mask do not fill the image.
    """
    corner = np.array([window.x, window.y] * 2, np.float32)
    limits = np.array([window.width, window.height] * 2, np.float32)
    places = np.arange(objects.begins[row], objects.begins[row + 1])
    boxes = (objects.boxes[places] - corner).clip(0, limits)
    reaching = (boxes[:, :2] < boxes[:, 2:]).all(1)
    places, boxes = places[reaching], boxes[reaching]
    if objects.segmentations is None:
        return Instances(boxes, objects.labels[places], None, objects.crowd[places])
    size = (window.height, window.width)
    counts = runs_in(objects, places, image, window)
    runs = [Runs.of_counts(one, size) for one in counts]
    seen = [number for number, one in enumerate(runs) if len(one.starts)]
    boxes = np.array([runs[number].bbox() for number in seen], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    areas = np.array([runs[number].area for number in seen], np.float64)
    places = places[seen]
    masks = painted([counts[number] for number in seen], size)
    return Instances(boxes, objects.labels[places], masks, objects.crowd[places], areas)


def runs_in(
    objects: ObjectAnnotations, places: npt.NDArray[np.int64], image: Size, window: Window
) -> list[npt.NDArray[np.int64]]:
    """Return the run lengths of the objects at `places`, all of one image of this (height, width), in a window of it.

    Raises:
        DatasetError: the run lengths of a mask do not fill the image.
    """
    if objects.segmentations is None:
        raise ValueError(f"{objects.path} has objects without masks")
    try:
        return objects.segmentations.runs(objects.numbers[places].tolist(), image, window)
    except SegmentationError as error:
        raise unfitting(objects.path, objects.places[error.number], error.what) from error
