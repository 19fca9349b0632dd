"""The facts kept of the objects of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.structures import DatasetInfo, Instances, Size

ELSEWHERE = 0.1
"""Below this overlap (intersection over union) of an object's box and its mask's own, the mask is elsewhere."""


@dataclass(frozen=True)
class ObjectFacts:
    """The objects of an image, N of them.

    labels (N,); crowd (N,); sides (N, 2) float64, width and height of the boxes in pixels; areas (N,) float64 in pixels
    as the annotations state them, else those of the masks, else of the boxes; `empty` counts masks without a pixel,
    `elsewhere` masks that are not where their box is, `repeated` objects that have the box and class of another one,
    `outside` boxes without area or reaching out of the image, `unknown` labels that are no class with instances.
    `fractions` says whether there are boxes and all of them lie within the first pixel, as shares of the image would.
    """

    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    sides: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    empty: int
    elsewhere: int
    repeated: int
    outside: int
    unknown: int
    fractions: bool


def object_facts(objects: Instances, size: Size, info: DatasetInfo) -> ObjectFacts:
    """Return the facts of the objects of an image of `size` (height, width)."""
    boxes, (height, width) = objects.boxes, size
    sides = boxes[:, 2:] - boxes[:, :2]
    outside = (sides <= 0).any(1) | (boxes < 0).any(1) | (boxes[:, 2] > width) | (boxes[:, 3] > height)
    named = np.concatenate([boxes, objects.labels[:, None]], 1)
    masks = objects.masks
    return ObjectFacts(
        labels=objects.labels,
        crowd=objects.crowd,
        sides=sides,
        areas=_areas(objects, sides),
        empty=0 if masks is None else sum(not mask.any() for mask in masks),
        elsewhere=0 if masks is None else sum(map(_is_elsewhere, masks, boxes)),
        repeated=len(named) - len(np.unique(named, axis=0)),
        outside=int(outside.sum()),
        unknown=int((~np.isin(objects.labels, info.things)).sum()),
        # Whole numbers may be the box of a first pixel that was annotated; shares of an image are rarely 0 or 1.
        fractions=min(size) > 1 and len(boxes) > 0 and boxes.max() <= 1 and bool((boxes % 1).any()),
    )


def _is_elsewhere(mask: npt.NDArray[np.bool_], box: npt.NDArray[np.float64]) -> bool:
    """Return whether a mask (H, W) has pixels, and hardly any in its box."""
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    if not width:
        return False
    shared = np.minimum(box[2:], (x + width, y + height)) - np.maximum(box[:2], (x, y))
    common = float(np.prod(np.maximum(shared, 0)))
    either = float(np.prod(box[2:] - box[:2])) + width * height - common
    return bool(common < ELSEWHERE * either)


def _areas(objects: Instances, sides: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the areas (N,) by which COCO calls objects small, medium or large."""
    if objects.areas is not None:
        return objects.areas
    areas: npt.NDArray[Any] = sides.prod(1) if objects.masks is None else objects.masks.sum((1, 2))
    return areas.astype(np.float64)
