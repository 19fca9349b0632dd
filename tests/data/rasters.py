"""Writes TIFF of any number of bands, as GDAL does, and to the byte, as microscopes and cameras do."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

DESCRIPTION = 270


def write_tiff(path: Path, image: np.ndarray, *, tiled: bool = False, **options: Any) -> Path:
    """Write (H, W, C); tiles are of 16 x 16, other options are GDAL's."""
    if tiled:
        options |= {"tiled": True, "blockxsize": 16, "blockysize": 16}
    height, width, count = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype=image.dtype, **options
    ) as raster:
        raster.write(image.transpose(2, 0, 1))
    return path


def write_pages(
    path: Path, pages: Sequence[np.ndarray], tags: Mapping[int, Any] | Sequence[Mapping[int, Any]] = ()
) -> Path:
    """Write pages (H, W) or (H, W, C) in one uncompressed strip each, little endian.

    `tags` are those of the first page, or of each: numbers, tuples of numbers, or bytes of text; None leaves one out.
    """
    of_pages = [tags] if isinstance(tags, Mapping) else list(tags)
    of_pages += [{}] * (len(pages) - len(of_pages))
    content, link = bytearray(b"II*\0\0\0\0\0"), 4
    for page, own in zip(pages, of_pages, strict=True):
        place = len(content)
        content += page.astype(page.dtype.newbyteorder("<")).tobytes()
        content += bytes(len(content) % 2)
        entries = {number: value for number, value in (_entries(page, place) | dict(own)).items() if value is not None}
        content[link : link + 4] = struct.pack("<I", len(content))
        directory = len(content)
        content += struct.pack("<H", len(entries)) + bytes(12 * len(entries) + 4)
        for row, (number, value) in enumerate(sorted(entries.items())):
            content[directory + 2 + 12 * row : directory + 14 + 12 * row] = _entry(number, value, content)
        link = directory + 2 + 12 * len(entries)
    path.write_bytes(content)
    return path


def _entries(page: np.ndarray, place: int) -> dict[int, Any]:
    channels = page.shape[2] if page.ndim == 3 else 1
    kind = {"u": 1, "i": 2, "f": 3}[page.dtype.kind]
    shape = {
        256: page.shape[1],
        257: page.shape[0],
        258: (8 * page.itemsize,) * channels,
        277: channels,
        278: page.shape[0],
    }
    return shape | {259: 1, 262: 2 if channels >= 3 else 1, 273: place, 279: page.nbytes, 339: (kind,) * channels}


def _entry(number: int, value: Any, content: bytearray) -> bytes:
    """Return the 12 bytes of a tag; what does not fit into them is appended to the file."""
    if isinstance(value, bytes):
        kind, count, data = 2, len(value) + 1, value + b"\0"
    else:
        values = value if isinstance(value, tuple) else (value,)
        kind, count = 4 if max(values) > 65535 or number in (273, 279) else 3, len(values)
        data = struct.pack(f"<{count}{'HI'[kind - 3]}", *values)
    if len(data) > 4:
        content += bytes(len(content) % 2)
        data, place = struct.pack("<I", len(content)), data
        content += place
    return struct.pack("<HHI", number, kind, count) + data.ljust(4, b"\0")
