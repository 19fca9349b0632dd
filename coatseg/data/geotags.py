"""Where on Earth the pixels of a GeoTIFF lie, kept for the maps that are made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coatseg.data.decoding import Pixels
from coatseg.data.raster import import_rasterio, opened_raster
from coatseg.data.tiff import read_header

Affine = tuple[float, float, float, float, float, float]

_LABEL_TYPES = (np.uint8, np.uint16, np.int32)


@dataclass(frozen=True)
class GeoTags:
    """A coordinate reference system as WKT, empty if it is not stated, and the place of the pixels in it.

    `transform` (a, b, c, d, e, f) places the corner of a pixel: x = a * column + b * row + c and
    y = d * column + e * row + f.
    """

    crs: str
    transform: Affine


def read_tags(path: Path) -> GeoTags | None:
    """Read the tags of a GeoTIFF; None for other files, and for a TIFF that has none.

    Ground control points and rational polynomials are not read.

    Raises:
        ImageError: no such file; a damaged one; rasterio is not installed.
    """
    if read_header(path) is None:
        return None
    with opened_raster(path) as raster:
        if raster.crs is None and raster.transform.is_identity:
            return None
        a, b, c, d, e, f = raster.transform[:6]
        return GeoTags(raster.crs.to_wkt() if raster.crs else "", (a, b, c, d, e, f))


def encode_label_map(labels: Pixels, tags: GeoTags) -> bytes:
    """Make a GeoTIFF of (H, W) class numbers: 8, 16 or 32 bit, whichever is enough, tiled and deflated.

    Raises:
        ImageError: rasterio is not installed.
    """
    rasterio = import_rasterio("Only rasterio writes a GeoTIFF.")
    low, high = int(labels.min()), int(labels.max())
    dtype = next(kind for kind in _LABEL_TYPES if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    height, width = labels.shape
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=width,
            height=height,
            count=1,
            dtype=dtype,
            crs=tags.crs or None,
            transform=rasterio.Affine(*tags.transform),
            tiled=True,
            compress="deflate",
            BIGTIFF="IF_SAFER",
        ) as raster:
            raster.write(labels.astype(dtype, copy=False), 1)
        return bytes(memory.getbuffer())
