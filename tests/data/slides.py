"""Writes small whole-slide images: the pages of an Aperio file, and a plain pyramid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

MICRONS = 0.499
SIZES = ((301, 405), (75, 101), (18, 25))
"""Of the levels; as with real scanners none divides the one before it."""
DESCRIPTION = "Aperio Image Library v12.0.15\n{width}x{height} [0,0 {width}x{height}] (64x64) JPEG/RGB Q=90"
LABEL = (250, 10, 10)
"""The colour of all pages that are not the image."""


def level_pixels(level: int) -> np.ndarray:
    """Draw a level: (H, W, 3) uint8, a field of rectangles that lie elsewhere in each level."""
    height, width = SIZES[level]
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 9 + level) + np.cos(columns / 7), np.sin(columns / 11), np.cos(rows / 8 - level)]
    return np.stack([120 + 50 * wave for wave in waves], -1).astype(np.uint8)


def label_of(level: int) -> np.ndarray:
    """Give the mask of a level, 1 where it is bright: (H, W) uint8."""
    return (level_pixels(level)[..., 0] > 120).astype(np.uint8)


def write_svs(path: Path, *, microns: float | None = MICRONS, compression: str = "jpeg") -> Path:
    """Write levels, thumbnail, label and macro as Aperio's scanners do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = SIZES[0]
    stated = f"|AppMag = 20|MPP = {microns:.4f}" if microns else "|AppMag = 20"
    about = DESCRIPTION.format(height=height, width=width)
    tiled: dict[str, Any] = {"tile": (64, 64), "compression": compression, "photometric": "rgb", "metadata": None}
    if compression == "jpeg":
        tiled["compressionargs"] = {"level": 95}
    aside = np.full((20, 30, 3), LABEL, np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(level_pixels(0), description=f"{about}{stated}", **tiled)
        file.write(aside, photometric="rgb", metadata=None, description=f"{about} -> 30x20 - |AppMag = 20")
        for level in (1, 2):
            file.write(level_pixels(level), description=f"{about} -> {SIZES[level]}{stated}", **tiled)
        for name, kind in (("label 30x20", 1), ("macro 30x20", 9)):
            described = f"Aperio Image Library v12.0.15\n{name}"
            file.write(aside, photometric="rgb", metadata=None, subfiletype=kind, description=described)
    return path


def write_pyramid(path: Path, **options: Any) -> Path:
    """Write the levels as reduced images below the first page, as GDAL and vips do, at 0.5 microns a pixel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
    tiled: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "metadata": None, **options}
    with tifffile.TiffWriter(path) as file:
        file.write(level_pixels(0), **tiled, **place)
        for level in (1, 2):
            file.write(level_pixels(level), subfiletype=1, **tiled)
    return path
