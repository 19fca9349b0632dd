"""Objects of images as json in COCO's format: a part for each image, and all of them joined."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from coatseg.metrics.coco_format import box_areas, encode, mask_areas, results
from coatseg.structures import DatasetInfo, InstancePrediction
from coatseg.system.fsspec_folders import Place


def encode_objects(prediction: InstancePrediction, file_name: str, info: DatasetInfo) -> bytes:
    """Make the json of one image's objects: what `instances.json` will hold of it, under the image's own id."""
    objects = encode(prediction, with_masks=True)
    areas = box_areas(objects.boxes) if objects.masks is None else mask_areas(objects.masks)
    height, width = prediction.size
    rows = results(prediction, info)
    content = {
        "image": {"id": prediction.id, "file_name": file_name, "height": height, "width": width},
        "annotations": [{**row, "area": area, "iscrowd": 0} for row, area in zip(rows, areas.tolist(), strict=True)],
    }
    return json.dumps(content, allow_nan=False).encode()


def join_objects(
    place: Place, name: str, parts: Sequence[str], ids: Sequence[str], categories: Sequence[dict[str, Any]]
) -> None:
    """Join `parts`, files of images, into one in COCO's format: images, annotations with scores, categories.

    An image's number is the one that its file is called, as COCO's are (000000000139.jpg has 139), if all `ids` of the
    input have one of their own; else its place among them, counted from 1. Only one image's objects are in memory at a
    time.
    """
    numbers = image_numbers(ids)
    with place.writing(name) as file:
        file.write(b'{"categories": ' + json.dumps(categories).encode())
        file.write(b',\n"images": [')
        for row, part in enumerate(parts):
            image = json.loads(place.read(part))["image"]
            file.write(json_row({**image, "id": numbers[image["id"]]}, row))
        file.write(b'],\n"annotations": [')
        count = 0
        for part in parts:
            content = json.loads(place.read(part))
            number = numbers[content["image"]["id"]]
            for annotation in content["annotations"]:
                file.write(json_row({**annotation, "id": count + 1, "image_id": number}, count))
                count += 1
        file.write(b"]}\n")


def image_numbers(ids: Sequence[str]) -> dict[str, int]:
    """Return a number for every image, by its id."""
    called = numbers_in_names(ids)
    if len(called) == len(set(called.values())) == len(ids):
        return called
    return {name: place for place, name in enumerate(ids, 1)}


def numbers_in_names(ids: Sequence[str]) -> dict[str, int]:
    """Return the numbers that images' files are called, by the images' ids; those with other names have none."""
    stems = ((name, name.rpartition("/")[2]) for name in ids)
    return {name: int(stem) for name, stem in stems if stem.isdecimal()}


def categories_of(info: DatasetInfo, labels: Iterable[int] | None = None) -> list[dict[str, Any]]:
    """Return COCO's rows of classes, by default those that have objects, with the dataset's own numbers."""
    chosen = (info.things or range(len(info.classes))) if labels is None else labels
    numbers = info.category_ids or range(len(info.classes))
    return [{"id": numbers[label], "name": info.classes[label]} for label in chosen]


def json_row(row: dict[str, Any], place: int) -> bytes:
    """Encode an entry of a list that is written a line an entry; `place` is its number, from 0."""
    return (b",\n" if place else b"\n") + json.dumps(row, allow_nan=False).encode()
