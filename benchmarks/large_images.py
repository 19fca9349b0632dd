"""Memory of predicting images by windows: how little it depends on the image.

    python -m benchmarks.large_images                                       # 8192x8192, 19 and 150 classes
    python -m benchmarks.large_images --sizes 16384x16384 --files tif --inference "inference.overlap=0"

A generated image is written as PNG, or as a GeoTIFF of tiles, read, predicted by windows of 512x512 with a model of
random weights, and its labels are written: what `coatseg predict` does. Every measurement is a fresh process, and the
peak is that of the resident memory above the loaded model, so Linux is needed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from benchmarks.alone import in_process
from benchmarks.composed import composed
from benchmarks.options import parse, parser, shown, size
from benchmarks.tables import Record, Table, publish
from coatseg.commands.terminal.console import quiet_libraries
from coatseg.config.build import build_task
from coatseg.config.read import read
from coatseg.data.images.raster import import_rasterio
from coatseg.data.images.sources import Source
from coatseg.models.backbones.variants import VARIANTS
from coatseg.results.predict.opened_image import open_path
from coatseg.results.predict.predictor import Predictor
from coatseg.results.predict.run import tags_of
from coatseg.results.predict.writers import writer_of
from coatseg.structures import DatasetInfo, Size
from coatseg.system.allocator import keep_memory
from coatseg.system.fsspec_folders import Place
from coatseg.system.measuring import reset_peak, resident_memory

QUICK = {"sizes": [(1024, 1024)], "classes": [19], "inference": [""]}
FILES = ("png", "tif")
BLOCK = 64
"""The side of the squares of noise that a generated image is smoothed from, in pixels."""


class Case(NamedTuple):
    """What one process measures."""

    variant: str
    head: str
    classes: int
    inference: str
    threads: int


class Peak(NamedTuple):
    """Bytes above the loaded model, bytes of the whole process, and seconds."""

    above: int
    whole: int
    seconds: float


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all combinations that are asked for, and print the table."""
    made = parser("large_images", __doc__, repeats=None)
    made.add_argument("--variant", choices=VARIANTS, default="coat_lite_tiny")
    made.add_argument("--head", default="fpn")
    made.add_argument("--sizes", nargs="+", type=size, default=[(8192, 8192)])
    made.add_argument("--classes", nargs="+", type=int, default=[19, 150])
    made.add_argument("--files", nargs="+", choices=FILES, default=["png"])
    made.add_argument(
        "--inference", nargs="+", default=["", "inference.flip=true"], help="overrides on inference=windows, one a row"
    )
    arguments = parse(made, QUICK, argv)
    if sys.platform != "linux":
        made.error("resident memory is read from Linux's /proc, which this system does not have")
    quiet_libraries()
    columns = {
        "image": lambda row: f"{shown(row['size'])} {row['file']}",
        "classes": lambda row: str(row["classes"]),
        "inference=windows and": lambda row: row["inference"] or "nothing else",
        "above the model (GB)": lambda row: f"{row['above'] / 1e9:.2f}",
        "the whole process (GB)": lambda row: f"{row['whole'] / 1e9:.2f}",
        "time (s)": lambda row: f"{row['seconds']:.0f}",
    }
    compared = f"{arguments.variant} under {arguments.head} in float32, read, predicted and written. GB are 10^9 bytes."
    publish("large_images", compared, [Table("A fresh process each", columns, list(measured(arguments)))], arguments)


def measured(arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield a record for each combination of image size, file format, number of classes and inference."""
    for at, file in product(arguments.sizes, arguments.files):
        with tempfile.TemporaryDirectory() as folder:
            path = in_process(write_image, Path(folder) / f"image.{file}", at)
            for classes, inference in product(arguments.classes, arguments.inference):
                case = Case(arguments.variant, arguments.head, classes, inference, arguments.threads)
                peak = in_process(measure, case, path)
                yield {"size": at, "file": file, **case._asdict(), **peak._asdict()}


def measure(case: Case, path: Path) -> Peak:
    """Load the model, then predict an image and write its labels beside it; return the peak of memory, and the time."""
    torch.set_num_threads(case.threads)
    keep_memory()
    predictor = random_predictor(case)
    writer = writer_of(predictor.task, Place(path.parent))
    loaded, began = reset_peak(), time.monotonic()
    image = open_path("image", path, 3, windows=predictor.reads_windows)
    (labels,) = predictor.results([image])
    writer.write(Source("image", path.name, str(path)), labels, tags_of(path))
    peak = resident_memory("VmHWM")
    return Peak(peak - loaded, peak, time.monotonic() - began)


def random_predictor(case: Case) -> Predictor:
    """Return a predictor with random weights."""
    names = tuple(f"class {number}" for number in range(case.classes))
    colours = tuple((number % 256, 90, 90) for number in range(case.classes))
    info = DatasetInfo("generated", names, colours, frozenset({"semantic"}))
    inference = ["inference=windows", *case.inference.split()]
    config = composed("task=seg", f"backbone={case.variant}", f"head={case.head}", "data=scenes", *inference)
    torch.manual_seed(0)
    return Predictor(build_task(read(config).task, info, total=1).eval())


def write_image(path: Path, extent: Size) -> Path:
    """Write smooth noise of (height, width) without holding more than the image; a GeoTIFF in tiles of 512x512."""
    height, width = extent
    noise = np.random.default_rng(0).integers(0, 256, (-(-height // BLOCK), -(-width // BLOCK), 3), dtype=np.uint8)
    pixels = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    if path.suffix == ".png":
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        return path
    rasterio = import_rasterio("A GeoTIFF is written by rasterio.")
    kind = {"driver": "GTiff", "height": height, "width": width, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "BIGTIFF": "IF_SAFER"}
    place = {"crs": "EPSG:32632", "transform": rasterio.Affine(0.5, 0, 300000, 0, -0.5, 5000000)}
    with rasterio.open(path, "w", **kind, **tiles, **place) as raster:
        raster.write(pixels.transpose(2, 0, 1))
    return path


if __name__ == "__main__":
    main()
