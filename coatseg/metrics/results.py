"""Detections in COCO's results format, for its tools and its evaluation servers."""

from __future__ import annotations

from typing import Any

from coatseg.metrics.encoding import encode
from coatseg.structures import DatasetInfo, InstancePrediction


def results(prediction: InstancePrediction, info: DatasetInfo) -> list[dict[str, Any]]:
    """Give one row an object, the surest first: image_id, category_id, bbox, score, and segmentation where it has one.

    Image ids are numbers where they are the text of one, and categories those of the dataset's own files. Boxes are
    (x, y, width, height) in pixels; masks, compressed run-length encodings whose counts are text.
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
    """Read the number that an id is the text of, as COCO's image ids are; None for a name."""
    return int(image_id) if image_id.isdecimal() and str(int(image_id)) == image_id else None


def image_order(image_id: str) -> tuple[bool, int, str]:
    """Sort numbers by value, as COCO does, and before names: detections of one score rank in the order of images."""
    number = image_number(image_id)
    return (True, 0, image_id) if number is None else (False, number, "")
