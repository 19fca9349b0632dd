"""Images a second from files and their objects: coatseg's readers of one's own data against Pillow alone.

    python -m benchmarks.readers --quick

Each format is written into a temporary folder: images of 640x480 with 20 outlines of 40 points. A side reads every
sample once, image, boxes and painted masks (of a hub's table the boxes alone); the other decodes the same images with
Pillow and keeps nothing. They take turns in one process, and the first round does not count. Opening is the time until
the first sample can be read: all annotation files of a split, and the headers of its images.
"""

from __future__ import annotations

import csv
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import faster_coco_eval.core.mask as coco_masks
import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.options import parse, parser
from benchmarks.tables import Record, Table, milliseconds, publish
from benchmarks.timing import in_turn, speedup
from coatseg.registry.names import make
from coatseg.structures import Dataset

SIZE = (480, 640)
OBJECTS, POINTS = 20, 40
QUICK = {"images": 20, "repeats": 3}
Polygons = npt.NDArray[np.float64]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure every format, and print a table."""
    made = parser("readers", __doc__, repeats=9)
    made.add_argument("--images", type=int, default=100)
    made.add_argument("--formats", nargs="+", choices=WRITERS, default=list(WRITERS))
    arguments = parse(made, QUICK, argv)
    records = [measured(name, arguments.images, arguments.repeats) for name in arguments.formats]
    columns = {
        "format": lambda row: row["format"],
        "opening (ms an image)": lambda row: milliseconds(row["opening"]),
        "coatseg (images/s)": lambda row: f"{row['rate']:.0f}",
        "Pillow alone (images/s)": lambda row: f"{row['pillow']:.0f}",
        "time to Pillow's": lambda row: str(row["ratio"]),
    }
    compared = (
        f"{arguments.images} JPEG images of {SIZE[0]}x{SIZE[1]} with {OBJECTS} objects of {POINTS} points each. "
        "Medians over rounds; in brackets the quartiles of the rounds' ratios."
    )
    publish("readers", compared, [Table("Reading whole samples", columns, records)], arguments)


def measured(name: str, images: int, repeats: int) -> Record:
    """Write a dataset in one format, and measure its reader against Pillow."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        outlines = write_images(root, images)
        WRITERS[name](root, outlines)
        began = time.perf_counter()
        dataset = make(
            "dataset",
            name,
            {"root": str(root / FOLDERS.get(name, ".")), **OPTIONS.get(name, {})},
            "data",
            split="train",
        )
        opening = (time.perf_counter() - began) / len(dataset)
        files = sorted(outlines)
        seconds = in_turn({"coatseg": reading(dataset), "pillow": decoding(files)}, repeats, warm_up=1)
    rates = {side: len(files) / median(times) for side, times in seconds.items()}
    return {
        "format": name,
        "images": len(files),
        "opening": opening,
        "seconds": seconds,
        "rate": rates["coatseg"],
        "pillow": rates["pillow"],
        "ratio": speedup(seconds["coatseg"], seconds["pillow"]),
    }


def reading(dataset: Dataset) -> Callable[[], None]:
    """Return a function that reads every sample."""

    def work() -> None:
        for index in range(len(dataset)):
            dataset[index]

    return work


def decoding(files: Sequence[Path]) -> Callable[[], None]:
    """Return a function that decodes every image with Pillow."""

    def work() -> None:
        for file in files:
            with Image.open(file) as image:
                np.asarray(image.convert("RGB"))

    return work


def write_images(root: Path, count: int) -> dict[Path, Polygons]:
    """Write smooth noise as JPEG, and return for each file the outlines (OBJECTS, POINTS, 2) of its objects."""
    random = np.random.default_rng(0)
    angles = 2 * np.pi * np.arange(POINTS) / POINTS
    outlines = {}
    for number in range(count):
        path = root / "train" / "images" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = random.integers(0, 256, (SIZE[0] // 8, SIZE[1] // 8, 3)).astype(np.uint8)
        Image.fromarray(noise).resize(SIZE[::-1], Image.Resampling.BICUBIC).save(path, quality=90)
        centres = random.uniform(60, (SIZE[1] - 60, SIZE[0] - 60), (OBJECTS, 1, 2))
        radii = random.uniform(15, 50, (OBJECTS, POINTS, 1))
        outlines[path] = (centres + radii * np.stack([np.cos(angles), np.sin(angles)], 1)).round(2)
    return outlines


def write_yolo(root: Path, outlines: dict[Path, Polygons]) -> None:
    """Write a txt for each image, and data.yaml."""
    for path, polygons in outlines.items():
        lines = (f"0 {' '.join(f'{value:.6f}' for value in (polygon / SIZE[::-1]).ravel())}" for polygon in polygons)
        labels = root / "train" / "labels" / f"{path.stem}.txt"
        labels.parent.mkdir(exist_ok=True)
        labels.write_text("\n".join(lines))
    (root / "data.yaml").write_text("train: train/images\nnames: [thing]\n")


def write_labelme(root: Path, outlines: dict[Path, Polygons]) -> None:
    """Write a json beside each image."""
    for path, polygons in outlines.items():
        shapes = [{"label": "thing", "points": polygon.tolist(), "shape_type": "polygon"} for polygon in polygons]
        content = {"shapes": shapes, "imagePath": path.name, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        path.with_suffix(".json").write_text(json.dumps(content))


def write_geojson(root: Path, outlines: dict[Path, Polygons]) -> None:
    """Write a GeoJSON beside each image."""
    named = {"classification": {"name": "thing", "color": [200, 0, 0]}}
    for path, polygons in outlines.items():
        rings = [[*polygon.tolist(), polygon[0].tolist()] for polygon in polygons]
        features = [
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": named}
            for ring in rings
        ]
        content = {"type": "FeatureCollection", "features": features}
        path.with_suffix(".geojson").write_text(json.dumps(content))


def write_kaggle_rle(root: Path, outlines: dict[Path, Polygons]) -> None:
    """Write a csv of the run lengths of all objects."""
    with (root / "train.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "EncodedPixels"])
        for path, polygons in outlines.items():
            for polygon in polygons:
                mask = coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects([polygon.ravel().tolist()], *SIZE)))
                edges = np.flatnonzero(np.diff(mask.ravel(order="F"), prepend=0, append=0)) + 1
                edges[1::2] -= edges[::2]
                writer.writerow([path.name, " ".join(map(str, edges))])


def write_hub(root: Path, outlines: dict[Path, Polygons]) -> None:
    """Write a table of the images' bytes and the boxes of the outlines, which have no masks there."""
    import datasets

    cells: dict[str, list[Any]] = {"image": [], "objects": []}
    for path, polygons in outlines.items():
        corners = np.concatenate([polygons.min(1), polygons.max(1) - polygons.min(1)], 1)
        cells["image"].append({"bytes": path.read_bytes(), "path": path.name})
        cells["objects"].append({"bbox": corners.tolist(), "category": [0] * OBJECTS})
    objects = {
        "bbox": datasets.List(datasets.List(datasets.Value("float32"), length=4)),
        "category": datasets.List(datasets.ClassLabel(names=["thing"])),
    }
    table = datasets.Dataset.from_dict(cells, datasets.Features({"image": datasets.Image(), "objects": objects}))
    # Read where it is: of parquet files the library would keep a copy in the user's cache.
    datasets.DatasetDict({"train": table}).save_to_disk(root / FOLDERS["hub"])


WRITERS: dict[str, Callable[[Path, dict[Path, Polygons]], None]] = {
    "yolo": write_yolo,
    "labelme": write_labelme,
    "geojson": write_geojson,
    "kaggle_rle": write_kaggle_rle,
    "hub": write_hub,
}
FOLDERS = {"hub": "table"}
"""Where a dataset lies, if not in the folder itself."""
OPTIONS = {
    "labelme": {"split_by": "folders"},
    "geojson": {"split_by": "folders"},
    "kaggle_rle": {"split_by": "folders"},
    "hub": {"split_by": "names", "objects_column": "objects"},
}

if __name__ == "__main__":
    main()
