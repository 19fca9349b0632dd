"""Writes tiny fake datasets of objects in the layouts that their owners publish: rectangles on a dark ground."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_masks

SIZE = (48, 64)
# As COCO's json states them: ids with gaps.
CATEGORIES = (
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "outdoor", "id": 13, "name": "stop sign"},
    {"supercategory": "indoor", "id": 90, "name": "toothbrush"},
)
Corners = tuple[int, int, int, int]
# x1, y1, x2, y2 of the objects of an image; their pictures do not overlap.
PLACES: tuple[Corners, ...] = ((2, 3, 22, 23), (30, 5, 58, 20), (6, 28, 30, 45), (36, 26, 40, 44))


def picture_of(places: Sequence[Corners], seed: int) -> np.ndarray:
    """Paint rectangles, each in a colour of its own, on noise: (H, W, 3) uint8."""
    picture = np.random.default_rng(seed).integers(0, 60, (*SIZE, 3)).astype(np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(places):
        picture[y1:y2, x1:x2, number % 3] += 150
    return picture


def write_picture(path: Path, places: Sequence[Corners], seed: int) -> None:
    """Write a picture of rectangles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture_of(places, seed)).save(path)


def mask_of(corners: Corners) -> np.ndarray:
    """Draw a rectangle: (H, W) bool."""
    x1, y1, x2, y2 = corners
    mask = np.zeros(SIZE, bool)
    mask[y1:y2, x1:x2] = True
    return mask


def polygon_of(corners: Corners) -> list[list[float]]:
    """Give the polygon of a rectangle."""
    x1, y1, x2, y2 = map(float, corners)
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """Give the uncompressed run lengths of a mask, column by column, background first."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], edges, [mask.size]]))
    return {"size": list(mask.shape), "counts": counts.tolist()}


def compressed(mask: np.ndarray) -> dict[str, Any]:
    """Give the compressed run lengths of a mask."""
    encoded = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": encoded["counts"].decode()}


def coco_content(count: int = 3, first: int = 1) -> dict[str, Any]:
    """Make a json of COCO: `count` images with ids from `first` on, the last one without objects.

    Each has a polygon, compressed run lengths, two polygons of one object, and a crowd of uncompressed run lengths.
    """
    images, annotations = [], []
    for index in range(count):
        key = first + index
        images.append({"id": key, "file_name": f"{key:012d}.jpg", "height": SIZE[0], "width": SIZE[1]})
        segmentations = (
            polygon_of(PLACES[0]),
            compressed(mask_of(PLACES[1])),
            [*polygon_of((6, 28, 16, 45)), *polygon_of((20, 28, 30, 45))],
            run_lengths(mask_of(PLACES[3])),
        )
        for number, (corners, segmentation) in enumerate(zip(PLACES, segmentations, strict=True)):
            if index < count - 1:
                annotations.append(annotation_of(10 * key + number, key, number, corners, segmentation))
    return {"images": images, "annotations": annotations, "categories": list(CATEGORIES)}


def annotation_of(key: int, image: int, number: int, corners: Corners, segmentation: Any) -> dict[str, Any]:
    """Make an annotation; the fourth of an image is a crowd."""
    x1, y1, x2, y2 = corners
    return {
        "id": key,
        "image_id": image,
        "category_id": CATEGORIES[number % 3]["id"],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1) - (68 if number == 2 else 0),
        "iscrowd": int(number == 3),
        "segmentation": segmentation,
    }


def write_coco(root: Path, count: int = 3) -> Path:
    """Write COCO's instances."""
    (root / "annotations").mkdir(parents=True)
    for number, split in enumerate(("train2017", "val2017")):
        content = coco_content(count, 100 * number + 1)
        for image in content["images"]:
            write_picture(root / split / image["file_name"], PLACES, image["id"])
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def write_coco_json(root: Path, count: int = 6) -> Path:
    """Write a dataset of one's own: images/ and annotations.json."""
    content = coco_content(count)
    for image in content["images"]:
        write_picture(root / "images" / image["file_name"], PLACES, image["id"])
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def xml_of(stem: str, objects: Sequence[tuple[str, Sequence[object], int]], size: tuple[int, int] = SIZE) -> str:
    """Make an xml of (name, xmin ymin xmax ymax, difficult) objects."""
    parts = "".join(
        f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
        "<bndbox>{}</bndbox></object>".format(
            "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        )
        for name, box, difficult in objects
    )
    return (
        f"<annotation><filename>{stem}.jpg</filename><size><width>{size[1]}</width><height>{size[0]}</height>"
        f"<depth>3</depth></size>{parts}</annotation>"
    )


def write_voc_boxes(root: Path, count: int = 3, names: Sequence[str] = ("cat", "person", "dog", "person")) -> Path:
    """Write VOCdevkit/VOC2007 with boxes; the last image of a split has none, the fourth object is difficult."""
    top = root / "VOCdevkit" / "VOC2007"
    for folder in ("ImageSets/Main", "Annotations"):
        (top / folder).mkdir(parents=True)
    splits = {
        split: [f"{first + index:06d}" for index in range(count)]
        for split, first in (("train", 1), ("val", 101), ("test", 201))
    }
    for stems in splits.values():
        for index, stem in enumerate(stems):
            # Corners are pixels, counted from 1, that the box includes.
            boxes = [(x1 + 1, y1 + 1, x2, y2) for x1, y1, x2, y2 in PLACES]
            objects = list(zip(names, boxes, (0, 0, 0, 1), strict=True)) if index < count - 1 else []
            (top / "Annotations" / f"{stem}.xml").write_text(xml_of(stem, objects))
            write_picture(top / "JPEGImages" / f"{stem}.jpg", PLACES, int(stem))
    for split, stems in {**splits, "trainval": splits["train"] + splits["val"]}.items():
        (top / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(stems) + "\n")
    return root


def write_instance_masks(
    root: Path,
    count: int = 3,
    ids: Sequence[int] = (1, 2, 3, 200),
    places: Sequence[str] = ("{split}/images", "{split}/masks"),
) -> Path:
    """Write images and id masks of the objects' `ids`; the last image of a split has none."""
    for first, split in ((0, "train"), (100, "val")):
        for index in range(count):
            stem = f"{first + index:04d}"
            folders = [root / place.format(split=split) for place in places]
            write_picture(folders[0] / f"{stem}.png", PLACES, first + index)
            folders[1].mkdir(parents=True, exist_ok=True)
            stored = np.zeros(SIZE, np.uint16 if max(ids) > 255 else np.uint8)
            for number, (x1, y1, x2, y2) in zip(ids, PLACES, strict=True):
                stored[y1:y2, x1:x2] = number if index < count - 1 else 0
            Image.fromarray(stored).save(folders[1] / f"{stem}.png")
    return root
