"""The exports of boxes and polygons in a file an image, and of run lengths in a table."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.exports.masks import SHOWN, labelmap
from tests.data.exports.scene import (
    CLASSES,
    COLOURS,
    PICTURES,
    SIZE,
    SPLITS,
    Corners,
    Thing,
    ring_of,
    write_image,
    write_images,
    write_text,
)

HEIGHT, WIDTH = SIZE


def write_cvat_boxes(root: Path) -> Path:
    """datumaro's voc_detection, CVAT's "Pascal VOC 1.1": corners are edges from 0, no xml where there is no object."""
    write_images(root / "JPEGImages")
    for name in SHOWN:
        things = PICTURES[name]
        rows = "".join(
            f"  <object>\n    <name>{thing.name}</name>\n    <truncated>0</truncated>\n    <occluded>0</occluded>\n"
            f"    <difficult>0</difficult>\n{_bndbox(map(float, thing.box))}  </object>\n"
            for thing in things
        )
        write_text(root / f"Annotations/{name}.xml", _annotation(f"{name}.jpg", rows))
    write_text(root / "ImageSets/Main/default.txt", "".join(f"{name}\n" for name in PICTURES))
    write_text(root / "labelmap.txt", labelmap())
    return root


def write_roboflow_boxes(root: Path) -> Path:
    """Roboflow's Pascal VOC: an xml beside each image in the folders train and valid."""
    for split, names in SPLITS.items():
        folder = root / {"val": "valid"}.get(split, split)
        for name in names:
            stem = f"{name}_jpg.rf.0123456789abcdef"
            write_image(folder / f"{stem}.jpg", name)
            rows = "".join(
                f"  <object>\n    <name>{thing.name}</name>\n    <pose>Unspecified</pose>\n"
                f"    <truncated>0</truncated>\n    <difficult>0</difficult>\n    <occluded>0</occluded>\n"
                f"{_bndbox(thing.box)}  </object>\n"
                for thing in PICTURES[name]
            )
            write_text(folder / f"{stem}.xml", _annotation(f"{stem}.jpg", rows, database="roboflow.com"))
    return root


def write_supervision_boxes(root: Path) -> Path:
    """supervision's as_pascal_voc into two folders: corners are pixels counted from 1, and no word of difficult."""
    write_images(root / "images")
    for name, things in PICTURES.items():
        rows = "".join(
            f"  <object>\n    <name>{thing.name}</name>\n{_bndbox(_from_one(thing.box))}  </object>\n"
            for thing in things
        )
        write_text(root / f"annotations/{name}.xml", _annotation(f"{name}.jpg", rows, database="roboflow.ai"))
    return root


def _from_one(box: Corners) -> Corners:
    return box[0] + 1, box[1] + 1, box[2], box[3]


def _annotation(file: str, objects: str, database: str = "Unknown") -> str:
    return (
        f"<annotation>\n  <folder></folder>\n  <filename>{file}</filename>\n"
        f"  <source>\n    <database>{database}</database>\n  </source>\n"
        f"  <size>\n    <width>{WIDTH}</width>\n    <height>{HEIGHT}</height>\n    <depth>3</depth>\n  </size>\n"
        f"  <segmented>0</segmented>\n{objects}</annotation>\n"
    )


def _bndbox(corners: Iterable[Any]) -> str:
    x1, y1, x2, y2 = corners
    return (
        f"    <bndbox>\n      <xmin>{x1}</xmin>\n      <ymin>{y1}</ymin>\n"
        f"      <xmax>{x2}</xmax>\n      <ymax>{y2}</ymax>\n    </bndbox>\n"
    )


def write_yolo(root: Path) -> Path:
    """Roboflow's and supervision's YOLO of boxes: data.yaml, SPLIT/images, SPLIT/labels."""
    for split, names in SPLITS.items():
        folder = root / {"val": "valid"}.get(split, split)
        write_images(folder / "images", names)
        for name in names:
            lines = []
            for thing in PICTURES[name]:
                x1, y1, x2, y2 = thing.box
                numbers = ((x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT)
                lines.append(f"{thing.label} {' '.join(map(str, numbers))}\n")
            write_text(folder / "labels" / f"{name}.txt", "".join(lines))
    text = f"train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: {list(CLASSES)}\n"
    write_text(root / "data.yaml", text)
    return root


def write_yolo_seg(root: Path) -> Path:
    """ultralytics' YOLO-seg: images/SPLIT, labels/SPLIT, parts joined at their nearest points, names by number."""
    for split, names in SPLITS.items():
        write_images(root / "images" / split, names)
        for name in names:
            lines = (f"{thing.label} {_relative(joined(thing))}\n" for thing in PICTURES[name])
            write_text(root / "labels" / split / f"{name}.txt", "".join(lines))
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    write_text(root / "data.yaml", f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}")
    return root


def joined(thing: Thing) -> list[tuple[int, int]]:
    """The rings of an object as one line: to the next ring and back where they are nearest, a hole the other way."""
    first, *rest = [ring_of(part) for part in thing.parts]
    for ring in rest:  # the lower left corner of the first is nearest to the upper left one of the second
        first = [*first[:3], first[3], *ring, ring[0], first[3]]
    for hole in thing.holes:
        inner = ring_of(hole)
        first = [first[0], inner[0], *reversed(inner), *first]
    return first


def _relative(points: Iterable[tuple[int, int]]) -> str:
    return " ".join(f"{x / WIDTH:g} {y / HEIGHT:.6g}" for x, y in points)


def write_labelme(root: Path) -> Path:
    """labelme 6: a rectangle, a thin polygon, a group of two polygons, a mask with a hole; JSON beside the images."""
    write_images(root)
    for name, rows in labelme_shapes().items():
        content = {
            "version": "6.3.1", "flags": {}, "shapes": rows, "imagePath": f"{name}.jpg",
            "imageData": base64.b64encode((root / f"{name}.jpg").read_bytes()).decode(),
            "imageHeight": HEIGHT, "imageWidth": WIDTH,
        }  # fmt: skip
        write_text(root / f"{name}.json", json.dumps(content, ensure_ascii=False, indent=2))
    return root


def labelme_shapes() -> dict[str, list[dict[str, Any]]]:
    """The shapes of each picture, of every kind that labelme has an area for."""
    return {
        "pair": [
            _shape("cat", [(10, 10), (30, 30)], "rectangle"),
            _shape("dog", ring_of(PICTURES["pair"][1].parts[0]), "polygon"),
        ],
        "holes": [
            *(_shape("cat", ring_of(part), "polygon", group_id=1) for part in PICTURES["holes"][0].parts),
            _shape("dog", [(40, 4), (59, 23)], "mask", mask=_crop(PICTURES["holes"][1])),
        ],
        "empty": [],
    }


def _shape(label: str, points: Iterable[tuple[int, int]], kind: str, **more: Any) -> dict[str, Any]:
    return {
        "label": label, "points": [[float(x), float(y)] for x, y in points], "group_id": None, "description": "",
        "shape_type": kind, "flags": {}, "mask": None, **more,
    }  # fmt: skip


def _crop(thing: Thing) -> str:
    """The pixels of an object within its box as a base64 PNG, as labelme keeps a mask."""
    x1, y1, x2, y2 = thing.box
    buffer = io.BytesIO()
    Image.fromarray(thing.mask[y1:y2, x1:x2].astype(np.uint8) * 255).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def write_qupath(root: Path) -> Path:
    """QuPath's export of annotations: a FeatureCollection an image, closed rings, holes inside, colours as lists."""
    write_images(root / "images", ending=".tif")
    for number, (name, things) in enumerate(PICTURES.items()):
        features = [
            {
                "type": "Feature", "id": f"a5d1e5a0-0000-4000-8000-00000000000{number}", "geometry": _geometry(thing),
                "properties": {
                    "objectType": "annotation",
                    "classification": {"name": thing.name, "color": list(COLOURS[thing.name])},
                },
            }
            for thing in things
        ]  # fmt: skip
        text = json.dumps({"type": "FeatureCollection", "features": features})
        write_text(root / f"annotations/{name}.geojson", text)
    return root


def _geometry(thing: Thing) -> dict[str, Any]:
    def closed(corners: Corners) -> list[list[int]]:
        ring = [[x, y] for x, y in ring_of(corners)]
        return [*ring, ring[0]]

    if len(thing.parts) > 1:
        return {"type": "MultiPolygon", "coordinates": [[closed(part)] for part in thing.parts]}
    return {"type": "Polygon", "coordinates": [closed(thing.parts[0]), *map(closed, thing.holes)]}


def write_kaggle(root: Path) -> Path:
    """Run lengths as Kaggle counts them: from 1, down and then to the right; an object a row, none for an empty one."""
    write_images(root / "train", ending=".png")
    rows = ["ImageId,EncodedPixels"]
    for name, things in PICTURES.items():
        rows += [f"{name},{runs_of(thing)}" for thing in things] or [f"{name},"]
    write_text(root / "train.csv", "\n".join([*rows, ""]))
    return root


def runs_of(thing: Thing) -> str:
    """Start and length of each run of an object's pixels."""
    flat = np.concatenate([[0], thing.mask.T.ravel(), [0]])
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    starts, ends = edges[::2], edges[1::2]
    return " ".join(f"{start + 1} {end - start}" for start, end in zip(starts, ends, strict=True))
