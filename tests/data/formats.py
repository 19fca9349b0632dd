"""Writes the objects of objects.py as other tools write them: YOLO, LabelMe, QuPath's GeoJSON, Kaggle's run lengths."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.objects import CATEGORIES, PLACES, SIZE, Corners, mask_of, polygon_of, write_picture

NAMES = tuple(category["name"] for category in CATEGORIES)
LABELS = (0, 1, 2, 0)
"""The classes of the objects at PLACES, by their place in NAMES."""


def pictures(root: Path, count: int, places: Sequence[str] = ("train", "val")) -> Iterator[tuple[Path, bool]]:
    """Write images of objects into the folders of two splits; yield each, and whether it shows any: the last do not."""
    for first, place in zip((0, 100), places, strict=False):
        for index in range(count):
            shows = index < count - 1
            path = root / place / f"{first + index:04d}.png"
            write_picture(path, PLACES if shows else (), first + index)
            yield path, shows


def relative(polygon: Sequence[float]) -> str:
    """Give a polygon as YOLO writes it: fractions of width and height in six digits."""
    sides = (SIZE[1], SIZE[0])
    return " ".join(f"{value / sides[number % 2]:.6f}" for number, value in enumerate(polygon))


def yolo_box(corners: Corners) -> str:
    """Give a box as YOLO writes it: centre, width and height."""
    x1, y1, x2, y2 = corners
    return relative([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def write_yolo(root: Path, count: int = 3, *, boxes: bool = False) -> Path:
    """Write data.yaml, images/ and labels/ of both splits; an image without objects has no txt."""
    for path, shows in pictures(root, count, ("images/train", "images/val")):
        written = [yolo_box(place) if boxes else relative(polygon_of(place)[0]) for place in PLACES]
        lines = [f"{label} {numbers}" for label, numbers in zip(LABELS, written, strict=True)]
        labels = root / "labels" / path.parent.name / f"{path.stem}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        if shows:
            labels.write_text("\n".join(lines) + "\n")
    names = "\n".join(f"  {number}: {name}" for number, name in enumerate(NAMES))
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}\n")
    return root


def shape(kind: str, points: Any, label: str = "person", group: int | None = None, **more: Any) -> dict[str, Any]:
    """Make a shape of LabelMe."""
    fields = {"label": label, "points": points, "group_id": group, "description": "", "shape_type": kind, "flags": {}}
    return {**fields, **more}


def png_of(mask: np.ndarray) -> str:
    """Give a mask as a PNG in base64, as LabelMe stores it."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def labelme_content(path: Path, shapes: Sequence[dict[str, Any]], size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """Make a json of LabelMe."""
    sides = {"imageHeight": size[0], "imageWidth": size[1]}
    return {"version": "6.3.1", "flags": {}, "shapes": list(shapes), "imagePath": path.name, "imageData": None, **sides}


def write_labelme(root: Path, count: int = 3) -> Path:
    """Write jsons beside images: a polygon, a rectangle, an object of two polygons, a mask, and a point."""
    (x1, y1, x2, y2), (left, top, right, bottom) = PLACES[1], PLACES[3]
    shapes = [
        shape("polygon", np.array(polygon_of(PLACES[0])).reshape(-1, 2).tolist(), NAMES[0]),
        shape("rectangle", [[x2, y2], [x1, y1]], NAMES[1]),
        shape("polygon", [[6, 28], [16, 28], [16, 45], [6, 45]], NAMES[2], group=1),
        shape("polygon", [[20, 28], [30, 28], [30, 45], [20, 45]], NAMES[2], group=1),
        shape(
            "mask", [[left, top], [right - 1, bottom - 1]], NAMES[0], mask=png_of(np.ones((bottom - top, right - left)))
        ),
        shape("point", [[1, 1]], "remark"),
    ]
    for path, shows in pictures(root, count):
        path.with_suffix(".json").write_text(json.dumps(labelme_content(path, shapes if shows else ())))
    return root


def closed(corners: Corners) -> list[list[int]]:
    """Give the outline of a rectangle as GeoJSON has it: the first point again at the end."""
    x1, y1, x2, y2 = corners
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2], [x1, y1]]


def feature(coordinates: Any, name: str | None, kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    """Make a feature as QuPath writes it."""
    classified = {} if name is None else {"classification": {"name": name, "color": [200, 0, len(name)]}}
    geometry = {"type": kind, "coordinates": coordinates}
    return {
        "type": "Feature",
        "id": "1d3b2e6a-0000-4000-8000-000000000000",
        "geometry": geometry,
        "properties": {"objectType": "annotation", **classified, **properties},
    }


def write_geojson(root: Path, count: int = 3) -> Path:
    """Write files beside images: an outline, one with a hole, one of two parts, and a point."""
    parts = [[closed((6, 28, 16, 45))], [closed((20, 28, 30, 45))]]
    features = [
        feature([closed(PLACES[0])], NAMES[0]),
        feature([closed(PLACES[1]), closed((34, 8, 44, 14))], NAMES[1]),
        feature(parts, NAMES[2], "MultiPolygon"),
        feature([closed(PLACES[3])], NAMES[0]),
        feature([1, 1], "remark", "Point"),
    ]
    for path, shows in pictures(root, count):
        content = {"type": "FeatureCollection", "features": features if shows else []}
        path.with_suffix(".geojson").write_text(json.dumps(content))
    return root


def kaggle_runs(mask: np.ndarray) -> str:
    """Give the run lengths of a mask as Kaggle asks for them."""
    flat = np.concatenate([[0], mask.ravel(order="F"), [0]]).astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    edges[1::2] -= edges[::2]
    return " ".join(map(str, edges))


def write_kaggle_rle(root: Path, count: int = 12) -> Path:
    """Write images/ and train.csv: a row an object, and one without run lengths for an image without objects."""
    rows = []
    for path, shows in pictures(root, count, ("images",)):
        if not shows:
            rows.append([path.name, "", NAMES[0]])
            continue
        rows += [
            [path.name, kaggle_runs(mask_of(place)), NAMES[label]] for place, label in zip(PLACES, LABELS, strict=True)
        ]
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["ImageId", "EncodedPixels", "ClassId"], *rows])
    return root
