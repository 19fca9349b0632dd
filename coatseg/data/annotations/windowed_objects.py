"""The objects in a window of an image: what of each lies in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.coco_columns import unfitting
from coatseg.data.annotations.objects import ObjectAnnotations
from coatseg.data.annotations.segmentations import SegmentationError
from coatseg.data.images.raster import Window
from coatseg.structures import Instances


def instances_in(objects: ObjectAnnotations, row: int, window: Window) -> Instances:
    """Return the objects of image `row` that have a pixel in a window, or a part of their box where there are no masks.

    Boxes are those of what is left of the masks, or clipped, and areas those of the pixels that are left.

    Raises:
        DatasetError: the run lengths of a mask do not fill the image.
    """
    corner = np.array([window.x, window.y] * 2, np.float32)
    limits = np.array([window.width, window.height] * 2, np.float32)
    places = np.arange(objects.begins[row], objects.begins[row + 1])
    boxes = (objects.boxes[places] - corner).clip(0, limits)
    reaching = (boxes[:, :2] < boxes[:, 2:]).all(1)
    places, boxes = places[reaching], boxes[reaching]
    masks = areas = None
    if objects.segmentations is not None:
        masks = masks_in(objects, places, row, window)
        seen = masks.any((1, 2))
        places, masks = places[seen], masks[seen]
        boxes, areas = tight_boxes(masks), masks.sum((1, 2)).astype(np.float64)
    return Instances(boxes, objects.labels[places], masks, objects.crowd[places], areas)


def masks_in(
    objects: ObjectAnnotations, places: npt.NDArray[np.int64], row: int, window: Window
) -> npt.NDArray[np.bool_]:
    """Paint the masks (N, h, w) of the objects at `places`, all of image `row`, in a window of it.

    Raises:
        DatasetError: the run lengths of a mask do not fill the image.
    """
    if objects.segmentations is None:
        raise ValueError(f"{objects.path} has objects without masks")
    try:
        return objects.segmentations.masks(objects.numbers[places].tolist(), objects.size(row), window)
    except SegmentationError as error:
        raise unfitting(objects.path, objects.places[error.number], error.what) from error


def tight_boxes(masks: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return the boxes (N, 4) of masks (N, H, W), each of which has a pixel."""
    columns, rows = np.any(masks, axis=1), np.any(masks, axis=2)
    x1, y1 = columns.argmax(1), rows.argmax(1)
    x2 = columns.shape[1] - np.fliplr(columns).argmax(1)
    y2 = rows.shape[1] - np.fliplr(rows).argmax(1)
    return np.stack([x1, y1, x2, y2], 1).astype(np.float32)
