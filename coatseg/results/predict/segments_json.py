"""Segments of images in COCO's panoptic format: a PNG of their ids and a part of the json for each, and all joined.

The format: https://cocodataset.org/#format-data, section 4, and #format-results. An id is R + 256 G + 65536 B; 0 is
void.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from coatseg.data.annotations.id_maps import objects_of
from coatseg.results.predict.objects_json import json_row
from coatseg.structures import DatasetInfo, PanopticPrediction, Pixels
from coatseg.system.fsspec_folders import Place


def encode_ids(ids: Pixels) -> bytes:
    """Return segment ids (H, W), from 0 up to 2**24, as the bytes of an RGB PNG."""
    file = io.BytesIO()
    channels = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)
    Image.fromarray(channels).save(file, format="png")
    return file.getvalue()


def encode_segments(prediction: PanopticPrediction, file_name: str, png: str, info: DatasetInfo) -> bytes:
    """Make the json of one image's segments: what the joined one will hold of it, under the image's own id.

    `png` is the name of the file of its ids in the folder of all of them. Each segment has its score beside the fields
    of the format.
    """
    ids = prediction.ids.numpy()
    height, width = ids.shape
    content = {
        "image": {"id": prediction.id, "file_name": file_name, "height": height, "width": width},
        "annotation": {"file_name": png, "segments_info": _rows(prediction, ids, info)},
    }
    return json.dumps(content, allow_nan=False).encode()


def _rows(prediction: PanopticPrediction, ids: Pixels, info: DatasetInfo) -> list[dict[str, Any]]:
    numbers = info.category_ids or range(len(info.classes))
    areas = np.bincount(ids.ravel(), minlength=len(prediction) + 1).tolist()
    found, boxes = objects_of(ids)
    sides = dict(zip(found.tolist(), boxes.astype(int).tolist(), strict=True))
    rows = []
    for number, (label, score) in enumerate(
        zip(prediction.labels.tolist(), prediction.scores.tolist(), strict=True), 1
    ):
        left, top, right, bottom = sides[number]
        row = {"id": number, "category_id": numbers[label], "area": areas[number]}
        rows.append({**row, "bbox": [left, top, right - left, bottom - top], "iscrowd": 0, "score": score})
    return rows


def join_segments(
    place: Place, name: str, parts: Mapping[str, int | str], categories: Sequence[dict[str, Any]]
) -> None:
    """Join `parts`, files of images and the ids that these get, into one json: images, annotations and categories.

    Only one image's segments are in memory at a time.
    """
    with place.writing(name) as file:
        file.write(b'{"categories": ' + json.dumps(categories).encode())
        file.write(b',\n"images": [')
        for row, (part, number) in enumerate(parts.items()):
            file.write(json_row({**json.loads(place.read(part))["image"], "id": number}, row))
        file.write(b'],\n"annotations": [')
        for row, (part, number) in enumerate(parts.items()):
            file.write(json_row({"image_id": number, **json.loads(place.read(part))["annotation"]}, row))
        file.write(b"]}\n")


def panoptic_categories(info: DatasetInfo) -> list[dict[str, Any]]:
    """Return the format's rows of all classes, with the dataset's own numbers."""
    numbers = info.category_ids or range(len(info.classes))
    return [
        {"id": numbers[label], "name": name, "isthing": int(label in info.things), "color": list(colour)}
        for label, (name, colour) in enumerate(zip(info.classes, info.palette, strict=True))
    ]
