"""Read the georeference of a GeoTIFF, and write it to the label maps that are predicted from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from coatseg.data.images.raster import JPEG_2000, import_rasterio, opened_raster
from coatseg.data.images.tiff.header import read_header
from coatseg.structures import Colour, Pixels

Affine = tuple[float, float, float, float, float, float]
RPC = "RPC"
NOWHERE: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The transform of a file that states none: coordinates are pixels."""
DOMAINS = ("", RPC)
"""The domains of tags that are kept: the file's own, and that of its rational polynomials."""


@dataclass(frozen=True)
class GeoTags:
    """A coordinate reference system as WKT, empty if it is not stated, and the position of the pixels in it.

    `transform` (a, b, c, d, e, f) maps the corner of a pixel: x = a * column + b * row + c and
    y = d * column + e * row + f. `points` (row, column, x, y, z) are ground control points in its place. `texts` are
    the file's other tags by domain and name; the domain RPC holds rational polynomials. Of a smaller level than the
    first of a pyramid, a pixel is `shrunk` (rows, columns) pixels of the full resolution.
    """

    crs: str
    transform: Affine
    points: tuple[tuple[float, ...], ...] = ()
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    shrunk: tuple[float, float] = (1.0, 1.0)

    @property
    def is_placed(self) -> bool:
        """Whether a transform maps pixels to coordinates; control points and polynomials alone do not."""
        rows, columns = self.shrunk
        return not self.points and self.transform != (columns, 0.0, 0.0, 0.0, rows, 0.0)

    @property
    def states_place(self) -> bool:
        """Whether the file states, in any way, where its pixels are; else only what they are `shrunk` by is known."""
        return bool(self.crs or self.points or self.texts or self.is_placed)

    def reduced(self, by: tuple[float, float]) -> GeoTags:
        """Return the tags of a smaller level, whose pixels are `by` (rows, columns) of these; RPC are left out."""
        rows, columns = by
        a, b, c, d, e, f = self.transform
        points = tuple((row / rows, column / columns, *place) for row, column, *place in self.points)
        transform = (a * columns, b * rows, c, d * columns, e * rows, f)
        texts = {**self.texts, RPC: {}} if self.texts else {}
        return replace(self, transform=transform, points=points, texts=texts, shrunk=by)


def read_tags(path: Path) -> GeoTags | None:
    """Read the tags of a GeoTIFF or a JPEG 2000 file; None for other files, and for one that has none.

    Raises:
        ImageError: there is no such file, it is damaged, or rasterio is not installed.
    """
    if path.suffix.lower() != JPEG_2000 and read_header(path) is None:
        return None
    with opened_raster(path) as raster:
        points, points_crs = raster.gcps
        crs = points_crs if points else raster.crs
        texts = {domain: dict(raster.tags(ns=domain or None)) for domain in DOMAINS}
        texts[""].pop("AREA_OR_POINT", None)  # the transform includes it, and GDAL would apply it a second time
        if crs is None and raster.transform.is_identity and not texts[RPC]:
            return None
        a, b, c, d, e, f = raster.transform[:6]
        rows = tuple((point.row, point.col, point.x, point.y, point.z) for point in points)
        return GeoTags(crs.to_wkt() if crs else "", (a, b, c, d, e, f), rows, texts)


def encode_label_map(labels: Pixels, tags: GeoTags, colours: Sequence[Colour] = ()) -> bytes:
    """Encode (H, W) class numbers, uint8 or uint16, as a tiled, deflated GeoTIFF; `colours` are the palette of uint8.

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
