"""Where on Earth the pixels of a GeoTIFF lie, kept for the maps that are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coatseg.data.images.pixels import Pixels
from coatseg.data.images.raster import import_rasterio, opened_raster
from coatseg.data.images.tiff import read_header
from coatseg.structures import Colour

Affine = tuple[float, float, float, float, float, float]
RPC = "RPC"
DOMAINS = ("", RPC)
"""The domains of tags that are kept: the file's own, and where its rational polynomials are."""


@dataclass(frozen=True)
class GeoTags:
    """A coordinate reference system as WKT, empty if it is not stated, and the place of the pixels in it.

    `transform` (a, b, c, d, e, f) places the corner of a pixel: x = a * column + b * row + c and
    y = d * column + e * row + f. `points` (row, column, x, y, z) are ground control points in place of it. `texts` are
    the file's other tags by domain and name; the domain RPC holds rational polynomials.
    """

    crs: str
    transform: Affine
    points: tuple[tuple[float, ...], ...] = ()
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_tags(path: Path) -> GeoTags | None:
    """Read the tags of a GeoTIFF; None for other files, and for a TIFF that has none.

    Raises:
        ImageError: no such file; a damaged one; rasterio is not installed.
    """
    if read_header(path) is None:
        return None
    with opened_raster(path) as raster:
        points, points_crs = raster.gcps
        crs = points_crs if points else raster.crs
        texts = {domain: dict(raster.tags(ns=domain or None)) for domain in DOMAINS}
        texts[""].pop("AREA_OR_POINT", None)  # which the transform has in it, and GDAL would apply once more
        if crs is None and raster.transform.is_identity and not texts[RPC]:
            return None
        a, b, c, d, e, f = raster.transform[:6]
        rows = tuple((point.row, point.col, point.x, point.y, point.z) for point in points)
        return GeoTags(crs.to_wkt() if crs else "", (a, b, c, d, e, f), rows, texts)


def encode_label_map(labels: Pixels, tags: GeoTags, colours: Sequence[Colour] = ()) -> bytes:
    """Make a GeoTIFF of (H, W) class numbers, uint8 or uint16, tiled and deflated; uint8 has the `colours` as palette.

    Raises:
        ImageError: rasterio is not installed.
    """
    rasterio = import_rasterio("Only rasterio writes a GeoTIFF.")
    height, width = labels.shape
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            width=width,
            height=height,
            count=1,
            dtype=labels.dtype,
            **_place(tags),
            tiled=True,
            compress="deflate",
            BIGTIFF="IF_SAFER",
        ) as raster:
            raster.write(labels, 1)
            for domain, texts in tags.texts.items():
                raster.update_tags(ns=domain or None, **texts)
            if colours and labels.dtype == np.uint8:
                raster.write_colormap(1, dict(enumerate(colours)))
        return bytes(memory.getbuffer())


def _place(tags: GeoTags) -> dict[str, Any]:
    from rasterio import Affine
    from rasterio.control import GroundControlPoint

    if tags.points:
        return {"crs": tags.crs, "gcps": [GroundControlPoint(*point) for point in tags.points]}
    return {"crs": tags.crs or None, "transform": Affine(*tags.transform)}
