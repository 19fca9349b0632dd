"""Predicted objects as COCO's json: a small file an image, and one of them all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from coatseg.atomic import whole_file
from coatseg.metrics.encoding import box_areas, encode, mask_areas
from coatseg.metrics.results import results
from coatseg.structures import DatasetInfo, InstancePrediction


def write_objects(path: Path, prediction: InstancePrediction, file_name: str, info: DatasetInfo) -> None:
    """Write the objects of one image: what `instances.json` will hold of it, under the image's own id."""
    objects = encode(prediction, with_masks=True)
    areas = box_areas(objects.boxes) if objects.masks is None else mask_areas(objects.masks)
    height, width = prediction.size
    rows = results(prediction, info)
    content = {
        "image": {"id": prediction.id, "file_name": file_name, "height": height, "width": width},
        "annotations": [{**row, "area": area, "iscrowd": 0} for row, area in zip(rows, areas.tolist(), strict=True)],
    }
    with whole_file(path) as file:
        file.write(json.dumps(content, allow_nan=False).encode())


def join_objects(path: Path, files: Iterable[Path], ids: Sequence[str], info: DatasetInfo) -> None:
    """Join the files of images into COCO's format: images, annotations with scores, categories.

    An image's number is the one that its file is called, as COCO's are (000000000139.jpg has 139), if all `ids` of the
    input have one of their own; else its place among them, counted from 1. Only one image's objects are in memory at a
    time.
    """
    numbers = image_numbers(ids)
    there = list(files)
    with whole_file(path) as file:
        file.write(b'{"categories": ' + json.dumps(categories(info)).encode())
        file.write(b',\n"images": [')
        for place, part in enumerate(there):
            image = json.loads(part.read_bytes())["image"]
            file.write(_row({**image, "id": numbers[image["id"]]}, place))
        file.write(b'],\n"annotations": [')
        count = 0
        for part in there:
            content = json.loads(part.read_bytes())
            number = numbers[content["image"]["id"]]
            for annotation in content["annotations"]:
                file.write(_row({**annotation, "id": count + 1, "image_id": number}, count))
                count += 1
        file.write(b"]}\n")


def image_numbers(ids: Sequence[str]) -> dict[str, int]:
    """Give every image a number, by its id."""
    stems = [name.rpartition("/")[2] for name in ids]
    called = {name: int(stem) for name, stem in zip(ids, stems, strict=True) if stem.isdecimal()}
    if len(set(called.values())) == len(ids):
        return called
    return {name: place for place, name in enumerate(ids, 1)}


def categories(info: DatasetInfo) -> list[dict[str, Any]]:
    """Give COCO's rows of the classes that have objects, with the numbers of the dataset's own files."""
    labels = info.things or range(len(info.classes))
    numbers = info.category_ids or range(len(info.classes))
    return [{"id": numbers[label], "name": info.classes[label]} for label in labels]


def _row(row: dict[str, Any], place: int) -> bytes:
    return (b",\n" if place else b"\n") + json.dumps(row, allow_nan=False).encode()
