"""Polygons of pixels at the place that a GeoTIFF states for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coatseg.data.images.statements.geotags import Affine, GeoTags
from coatseg.results.predict.forms.outlines import Polygon, Ring


def placed(polygons: Sequence[Polygon], tags: GeoTags) -> list[Polygon]:
    """Return polygons of pixels in the coordinates of the file."""
    return _mapped(polygons, tags.transform)


def in_full_resolution(polygons: Sequence[Polygon], tags: GeoTags | None) -> Sequence[Polygon]:
    """Return polygons of pixels of a level in pixels of the full resolution, in which other tools count them."""
    rows, columns = (1.0, 1.0) if tags is None else tags.shrunk
    return polygons if rows == columns == 1 else _mapped(polygons, (columns, 0.0, 0.0, 0.0, rows, 0.0))


def _mapped(polygons: Sequence[Polygon], transform: Affine) -> list[Polygon]:
    a, b, c, d, e, f = transform

    def mapped(ring: Ring) -> Ring:
        columns, rows = ring.T
        return np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=1)

    return [[mapped(ring) for ring in polygon] for polygon in polygons]


def wound(polygon: Polygon) -> Polygon:
    """Return a polygon whose outer ring runs against the clock, and whose holes with it, where y points up.

    That is the rule of RFC 7946, by which tools check it in pixels too.
    """
    return [ring if (_area(ring) > 0) == (number == 0) else ring[::-1] for number, ring in enumerate(polygon)]


def _area(ring: Ring) -> float:
    x, y = (ring - ring[0]).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
