"""Milliseconds for a window of a whole-slide image: coatseg's reader against rasterio on the same file.

    python -m benchmarks.slides --quick

A slide as a scanner writes it (JPEG in tiles of 256, levels of a quarter each) is made of smooth noise. Both sides read
windows of 512x512 at the same random places of full resolution, in turns in one process; coatseg opens the file as in
training, once, and rasterio keeps it open. The first round does not count.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import rasterio
import tifffile
from rasterio.windows import Window as Rectangle

from benchmarks.options import parse, parser
from benchmarks.tables import Table, milliseconds, publish
from benchmarks.timing import in_turn, speedup
from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_image

SIDE, TILE, LEVELS = 512, 256, 3
QUICK = {"side": 4096, "windows": 10, "repeats": 3}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both sides, and print a table."""
    made = parser("slides", __doc__, repeats=9)
    made.add_argument("--side", type=int, default=20000)
    made.add_argument("--windows", type=int, default=50)
    arguments = parse(made, QUICK, argv)
    with tempfile.TemporaryDirectory() as folder:
        path = write_slide(Path(folder) / "slide.svs", arguments.side)
        with rasterio.open(path) as slide:
            sides = {
                "coatseg": by_coatseg(path, corners(arguments.side, arguments.windows)),
                "rasterio": by_rasterio(slide, corners(arguments.side, arguments.windows)),
            }
            seconds = in_turn(sides, arguments.repeats, warm_up=1)
    records = [
        {"side": name, "window": median(times) / arguments.windows, "ratio": speedup(times, seconds["coatseg"])}
        for name, times in seconds.items()
    ]
    columns = {
        "reader": lambda row: row["side"],
        "a window (ms)": lambda row: milliseconds(row["window"]),
        "time to coatseg's": lambda row: str(row["ratio"]),
    }
    compared = (
        f"Windows of {SIDE}x{SIDE} of a slide of {arguments.side}x{arguments.side}. Medians over rounds of "
        f"{arguments.windows} windows; in brackets the quartiles of the rounds' ratios."
    )
    publish("slides", compared, [Table("Windows of a slide", columns, records)], arguments)


def corners(side: int, windows: int) -> Iterator[list[list[int]]]:
    """Yield the corners (y, x) of the windows of each round; other ones each time, as GDAL keeps what it decoded."""
    random = np.random.default_rng(1)
    while True:
        yield random.integers(0, side - SIDE, (windows, 2)).tolist()


def by_coatseg(path: Path, rounds: Iterator[list[list[int]]]) -> Callable[[], None]:
    """Return a function that reads the windows as a training does."""

    def work() -> None:
        for y, x in next(rounds):
            read_image(path, 3, window=Window(y, x, SIDE, SIDE))

    return work


def by_rasterio(slide: rasterio.DatasetReader, rounds: Iterator[list[list[int]]]) -> Callable[[], None]:
    """Return a function that reads the windows from an opened file."""

    def work() -> None:
        for y, x in next(rounds):
            slide.read(window=Rectangle(x, y, SIDE, SIDE))

    return work


def write_slide(path: Path, side: int) -> Path:
    """Write smooth noise as a pyramid in tiles."""
    noise = np.random.default_rng(0).integers(0, 256, (side // 64, side // 64, 3)).astype(np.uint8)
    pixels = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for level in range(LEVELS):
            description = "Aperio Image Library|AppMag = 20|MPP = 0.4990" if level == 0 else None
            step = 4**level
            file.write(
                pixels[::step, ::step],
                tile=(TILE, TILE),
                compression="jpeg",
                photometric="rgb",
                description=description,
                metadata=None,
            )
    return path


if __name__ == "__main__":
    main()
