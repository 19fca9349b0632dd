"""Writes tiny Hugging Face datasets of the pictures of objects.py: parquet files, as `datasets` writes them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

from tests.data.objects import PLACES, SIZE, mask_of, picture_of

NAMES = ("cat", "dog")
CLASSES = ("ground", *NAMES)
"""The classes of label_map."""


def encoded(pixels: np.ndarray, suffix: str = "png") -> bytes:
    """Encode an image as the content of a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix)
    return file.getvalue()


def label_map() -> np.ndarray:
    """Draw a map of the labels 0, 1 and 2, and of 255 in a corner: (H, W) uint8."""
    labels = np.zeros(SIZE, np.uint8)
    labels[mask_of(PLACES[0])], labels[mask_of(PLACES[1])] = 1, 2
    labels[-4:, -4:] = 255
    return labels


def image_cell(row: int) -> dict[str, Any]:
    """Give the image of a row as a table holds it."""
    return {"bytes": encoded(picture_of(PLACES, row)), "path": f"picture{row}.png"}


def objects_cell(row: int) -> dict[str, Any]:
    """Give the objects of a row: the first and the second place, or none in every third row."""
    places = () if row % 3 == 2 else PLACES[:2]
    return {
        "bbox": [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in places],
        "category": [number % 2 for number in range(len(places))],
        "area": [float((x2 - x1) * (y2 - y1)) for x1, y1, x2, y2 in places],
        "iscrowd": [False] * len(places),
        "id": list(range(len(places))),
    }


def object_features(category: Any = None) -> dict[str, Any]:
    """Give the usual type of objects: lists of fields."""
    return {
        "bbox": datasets.List(datasets.List(datasets.Value("float32"), length=4)),
        "category": datasets.List(category or datasets.ClassLabel(names=list(NAMES))),
        "area": datasets.List(datasets.Value("float32")),
        "iscrowd": datasets.List(datasets.Value("bool")),
        "id": datasets.List(datasets.Value("int64")),
    }


def write_table(root: Path, columns: dict[str, list[Any]], features: dict[str, Any], split: str = "train") -> Path:
    """Write a split as a parquet file of a repository, and return its folder."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    table = datasets.Dataset.from_dict(columns, datasets.Features(features))
    table.to_parquet(root / "data" / f"{split}-00000-of-00001.parquet")
    return root


def write_masks(root: Path, splits: Sequence[str] = ("train", "validation"), count: int = 4) -> Path:
    """Write images and masks: columns image and annotation."""
    for split in splits:
        images = [image_cell(row) for row in range(count)]
        masks = [{"bytes": encoded(label_map()), "path": None}] * count
        features = {"image": datasets.Image(), "annotation": datasets.Image()}
        write_table(root, {"image": images, "annotation": masks}, features, split)
    return root


def save_masks(root: Path) -> Path:
    """Write what `save_to_disk` does of write_masks' columns, which is read without a copy in the library's cache."""
    cells = {"image": [image_cell(row) for row in range(4)]}
    cells["annotation"] = [{"bytes": encoded(label_map()), "path": None}] * 4
    features = datasets.Features(dict.fromkeys(cells, datasets.Image()))
    both = {split: datasets.Dataset.from_dict(cells, features) for split in ("train", "validation")}
    datasets.DatasetDict(both).save_to_disk(root)
    return root


def write_objects(root: Path, splits: Sequence[str] = ("train", "validation"), count: int = 4) -> Path:
    """Write images and boxes: columns image and objects."""
    for split in splits:
        rows = range(count)
        columns = {"image": [image_cell(row) for row in rows], "objects": [objects_cell(row) for row in rows]}
        write_table(root, columns, {"image": datasets.Image(), "objects": object_features()}, split)
    return root
