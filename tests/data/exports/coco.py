"""The exports in COCO's format, as their tools write them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tests.data.exports.scene import (
    CLASSES,
    COLOURS,
    PICTURES,
    SIZE,
    SPLITS,
    Thing,
    ring_of,
    write_image,
    write_images,
    write_mask,
    write_text,
)
from tests.data.objects import run_lengths

Row = dict[str, Any]


def content(
    names: Iterable[str], annotate: Callable[[Thing], list[Row]], *, first: int = 1, file: str = "{}.jpg", **image: Any
) -> tuple[list[Row], list[Row]]:
    """The images and annotations of a json, with ids from `first` on and categories from 1."""
    images, annotations = [], []
    for key, name in enumerate(names, first):
        images.append(
            {"id": key, "width": SIZE[1], "height": SIZE[0], "file_name": file.format(name), "license": 0, **image}
        )
        for thing in PICTURES[name]:
            for row in annotate(thing):
                annotations.append({"id": len(annotations) + first, "image_id": key, **row})
    return images, annotations


def flat(corners: Any) -> list[float]:
    return [float(value) for point in ring_of(corners) for value in point]


def write_datumaro_coco(root: Path) -> Path:
    """datumaro's coco_instances of masks: crowds all, boxes a pixel short both ways."""

    def crowd(thing: Thing) -> list[Row]:
        x1, y1, x2, y2 = map(float, thing.box)
        return [{
            "category_id": thing.label + 1, "segmentation": run_lengths(thing.mask), "area": float(thing.area),
            "bbox": [x1, y1, x2 - x1 - 1, y2 - y1 - 1], "iscrowd": 1,
        }]  # fmt: skip

    for split, names in SPLITS.items():
        write_images(root / "images" / split, names)
        images, annotations = content(names, crowd, flickr_url="", coco_url="", date_captured=0)
        text = json.dumps({
            "licenses": [{"name": "", "id": 0, "url": ""}],
            "info": dict.fromkeys(("contributor", "date_created", "description", "url", "version", "year"), ""),
            "categories": [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(CLASSES, 1)],
            "images": images, "annotations": annotations,
        })  # fmt: skip
        write_text(root / f"annotations/instances_{split}.json", text)
    return root


def write_label_studio_coco(root: Path) -> Path:
    """Label Studio's COCO of polygons: one json, images/HASH__NAME or HASH-NAME, a region an object, holes filled."""
    for name in PICTURES:
        write_image(root / f"images/a1b2c3e0-{name}.jpg", name)

    def regions(thing: Thing) -> list[Row]:
        return [
            {
                "category_id": thing.label, "segmentation": [flat((x1, y1, x2, y2))],
                "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)], "ignore": 0, "iscrowd": 0,
                "area": float((x2 - x1) * (y2 - y1)),
            }
            for x1, y1, x2, y2 in thing.parts
        ]  # fmt: skip

    images, annotations = content(PICTURES, regions, first=0, file="images/a1b2c3e0-{}.jpg")
    write_text(root / "result.json", json.dumps({
        "images": [{key: row[key] for key in ("width", "height", "id", "file_name")} for row in images],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES)],
        "annotations": annotations,
        "info": {"year": 2026, "version": "1.0", "description": "", "contributor": "Label Studio", "url": ""},
    }, indent=2))  # fmt: skip
    return root


def through_centres(corners: Any) -> list[float]:
    """The polygon that OpenCV's contours give: through the centres of the outermost pixels."""
    x1, y1, x2, y2 = corners
    return [float(value) for point in ((x1, y1), (x1, y2 - 1), (x2 - 1, y2 - 1), (x2 - 1, y1)) for value in point]


def write_supervision_coco(root: Path) -> Path:
    """supervision's as_coco: parts and holes are crowds of run lengths, thin objects have no polygon."""

    def annotate(thing: Thing) -> list[Row]:
        x1, y1, x2, y2 = map(float, thing.box)
        odd = len(thing.parts) > 1 or bool(thing.holes)
        polygon = [] if x2 - x1 <= 1 else [through_centres(thing.parts[0])]
        return [{
            "category_id": thing.label + 1, "bbox": [x1, y1, x2 - x1 - 1, y2 - y1 - 1],
            "area": (x2 - x1 - 1) * (y2 - y1 - 1),
            "segmentation": run_lengths(thing.mask) if odd else polygon, "iscrowd": int(odd),
        }]  # fmt: skip

    write_images(root / "images")
    images, annotations = content(PICTURES, annotate, date_captured="11/30/2026,12:00:00")
    write_text(root / "annotations.json", json.dumps({
        "info": {},
        "licenses": [{"id": 1, "url": "https://creativecommons.org/licenses/by/4.0/", "name": "CC BY 4.0"}],
        "categories": [{"id": n, "name": name, "supercategory": "common-objects"} for n, name in enumerate(CLASSES, 1)],
        "images": [{**row, "license": 1} for row in images], "annotations": annotations,
    }))  # fmt: skip
    return root


def write_roboflow_coco(root: Path) -> Path:
    """Roboflow's COCO segmentation: a json in each split's folder, a root category, a box among the polygons."""

    def annotate(thing: Thing) -> list[Row]:
        x1, y1, x2, y2 = thing.box
        polygons = [] if x2 - x1 <= 1 else [flat(part) for part in thing.parts]
        return [{
            "category_id": thing.label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1),
            "segmentation": polygons, "iscrowd": 0,
        }]  # fmt: skip

    for split, names in SPLITS.items():
        folder = root / {"val": "valid"}.get(split, split)
        write_images(folder, names, ending="_jpg.rf.0123456789abcdef.jpg")
        images, annotations = content(
            names, annotate, first=0, file="{}_jpg.rf.0123456789abcdef.jpg", date_captured="2026-11-30T12:00:00+00:00"
        )
        write_text(folder / "_annotations.coco.json", json.dumps({
            "info": {
                "year": "2026", "version": "1", "description": "Exported from roboflow.com", "contributor": "",
                "url": "https://public.roboflow.com/object-detection/undefined",
                "date_created": "2026-11-30T12:00:00+00:00",
            },
            "licenses": [{"id": 1, "url": "https://creativecommons.org/licenses/by/4.0/", "name": "CC BY 4.0"}],
            "categories": [
                {"id": 0, "name": "animals", "supercategory": "none"},
                *({"id": n, "name": name, "supercategory": "animals"} for n, name in enumerate(CLASSES, 1)),
            ],
            "images": [{**row, "license": 1} for row in images], "annotations": annotations,
        }))  # fmt: skip
    return root


def write_labelme2coco(root: Path) -> Path:
    """The form of labelme's examples/instance_segmentation/labelme2coco.py: annotations.json beside JPEGImages/."""
    write_images(root / "JPEGImages")

    def annotate(thing: Thing) -> list[Row]:
        x1, y1, x2, y2 = map(float, thing.box)
        return [{
            "category_id": thing.label + 1, "segmentation": [flat(part) for part in thing.parts],
            "area": float(thing.area), "bbox": [x1, y1, x2 - x1, y2 - y1], "iscrowd": 0,
        }]  # fmt: skip

    images, annotations = content(PICTURES, annotate, first=0, file="JPEGImages/{}.jpg", url=None, date_captured=None)
    write_text(root / "annotations.json", json.dumps({
        "info": {"description": None, "url": None, "version": None, "year": 2026, "contributor": None},
        "licenses": [{"url": None, "id": 0, "name": None}], "images": images, "type": "instances",
        "annotations": annotations,
        "categories": [
            {"supercategory": None, "id": number, "name": name}
            for number, name in enumerate(("_background_", *CLASSES))
        ],
    }))  # fmt: skip
    return root


def write_datumaro_panoptic(root: Path) -> Path:
    """datumaro's coco_panoptic: images/SUBSET, annotations/panoptic_SUBSET.json and PNG files of that name."""
    for split, names in SPLITS.items():
        write_images(root / "images" / split, names)
        images, _ = content(names, lambda thing: [])
        annotations = []
        for row, name in zip(images, names, strict=True):
            ids, segments = np.zeros(SIZE, np.uint8), []
            for number, thing in enumerate(PICTURES[name], 1):
                ids[thing.mask] = number
                x1, y1, x2, y2 = map(float, thing.box)
                segments.append({
                    "id": number, "category_id": thing.label + 1, "area": float(thing.area),
                    "bbox": [x1, y1, x2 - x1 - 1, y2 - y1 - 1], "iscrowd": 0,
                })  # fmt: skip
            if segments:
                pixels = np.dstack([ids, np.zeros_like(ids), np.zeros_like(ids)])
                write_mask(root / f"annotations/panoptic_{split}/{name}.png", pixels)
                annotations.append({"image_id": row["id"], "file_name": f"{name}.png", "segments_info": segments})
        write_text(root / f"annotations/panoptic_{split}.json", json.dumps({
            "licenses": [{"name": "", "id": 0, "url": ""}], "info": {"description": ""},
            "categories": [
                {"id": n, "name": name, "supercategory": "", "isthing": 1, "color": list(COLOURS[name])}
                for n, name in enumerate(CLASSES, 1)
            ],
            "images": images, "annotations": annotations,
        }))  # fmt: skip
    return root
