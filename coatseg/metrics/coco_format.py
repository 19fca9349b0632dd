"""Objects in the format of COCO's tools and servers: boxes (x, y, width, height), run-length encoded masks, results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from coatseg.structures import DatasetInfo, InstancePrediction, InstanceTarget

DECIMALS = 9
RLE = dict[str, Any]
"""A mask in COCO's compressed run-length encoding: {"size": [height, width], "counts": bytes}."""


@dataclass(frozen=True)
class EncodedObjects:
    """The N objects of one image, encoded to take few bytes.

    labels (N,) int64 class numbers; boxes (N, 4) float64 (x, y, width, height); masks, N run-length encodings, or None.
    """

    labels: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    masks: tuple[RLE, ...] | None

    def __len__(self) -> int:
        return len(self.labels)


def encode(objects: InstancePrediction | InstanceTarget, with_masks: bool) -> EncodedObjects:
    """Encode the labels and boxes of objects, and their masks if `with_masks`."""
    boxes = objects.boxes.cpu().numpy().astype(np.float64).reshape(-1, 4)
    boxes[:, 2:] = _sides(boxes)
    masks = tuple(encode_masks(objects.masks)) if with_masks and objects.masks is not None else None
    return EncodedObjects(objects.labels.cpu().numpy().astype(np.int64), boxes, masks)


def _sides(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the width and height (N, 2) of boxes (N, 4) given by their corners, as the annotations stated them.

    Of 10.1 and 10.1 + 20.3 the difference is not 20.3 but a few of the last bits beside it, which decides where an IoU
    lies exactly on a threshold. Where a number of nine decimals is that near, it is the one that was stated.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    stated = np.round(sides, DECIMALS)
    return np.where(np.abs(stated - sides) <= 2 * np.spacing(np.abs(boxes[:, 2:])), stated, sides)


def encode_masks(masks: Tensor) -> list[RLE]:
    """Run-length encode bool masks (N, H, W)."""
    from faster_coco_eval.core import mask as coco

    # One at a time: a copy of all in column-major order would be as large as the masks.
    return [coco.encode(np.asfortranarray(mask.cpu().numpy().view(np.uint8))) for mask in masks]


def mask_areas(masks: tuple[RLE, ...]) -> npt.NDArray[np.float64]:
    """Return the areas (N,) of run-length encoded masks, in pixels."""
    from faster_coco_eval.core import mask as coco

    return np.asarray(coco.area(list(masks)) if masks else [], dtype=np.float64)


def box_areas(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the areas (N,) of boxes (N, 4) of (x, y, width, height)."""
    areas: npt.NDArray[np.float64] = boxes[:, 2] * boxes[:, 3]
    return areas


def results(prediction: InstancePrediction, info: DatasetInfo) -> list[dict[str, Any]]:
    """Return a row per object, highest score first: image_id, category_id, bbox, score, and segmentation if it has one.

    Image ids that spell a number become that number, and category ids are those of the dataset's own files. Boxes are
    (x, y, width, height) in pixels; masks are compressed run-length encodings whose counts are text.
    """
    objects = encode(prediction, with_masks=True)
    number = image_number(prediction.id)
    rows: list[dict[str, Any]] = [
        {
            "image_id": prediction.id if number is None else number,
            "category_id": info.category_ids[label] if info.category_ids else label,
            "bbox": box,
            "score": score,
        }
        for label, box, score in zip(
            objects.labels.tolist(), objects.boxes.tolist(), prediction.scores.tolist(), strict=True
        )
    ]
    if objects.masks is None:
        return rows
    return [
        {**row, "segmentation": {"size": list(mask["size"]), "counts": mask["counts"].decode("ascii")}}
        for row, mask in zip(rows, objects.masks, strict=True)
    ]


def image_number(image_id: str) -> int | None:
    """Return the number that an image id spells, as COCO's do; None for a name."""
    return int(image_id) if image_id.isdecimal() and str(int(image_id)) == image_id else None


def image_order(image_id: str) -> tuple[bool, int, str]:
    """Return a sort key: numbers by value, as in COCO, before names; detections of equal score rank in this order."""
    number = image_number(image_id)
    return (True, 0, image_id) if number is None else (False, number, "")
