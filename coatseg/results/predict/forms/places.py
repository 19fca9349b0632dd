"""Polygons of pixels at the place that a GeoTIFF states for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coatseg.data.images.statements.geotags import GeoTags
from coatseg.results.predict.forms.outlines import Polygon, Ring

UNPLACED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The transform of a file that states none: coordinates are pixels."""


def is_placed(tags: GeoTags | None) -> bool:
    """Return whether a file maps its pixels to coordinates; control points and polynomials alone do not."""
    return tags is not None and not tags.points and tags.transform != UNPLACED


def placed(polygons: Sequence[Polygon], tags: GeoTags) -> list[Polygon]:
    """Return polygons of pixels in the coordinates of the file."""
    a, b, c, d, e, f = tags.transform

    def mapped(ring: Ring) -> Ring:
        columns, rows = ring.T
        return np.stack([a * columns + b * rows + c, d * columns + e * rows + f], axis=1)

    return [[mapped(ring) for ring in polygon] for polygon in polygons]


def wound(polygon: Polygon) -> Polygon:
    """Return a polygon whose outer ring runs against the clock, and whose holes with it, where y points up."""
    return [ring if (_area(ring) > 0) == (number == 0) else ring[::-1] for number, ring in enumerate(polygon)]


def _area(ring: Ring) -> float:
    x, y = (ring - ring[0]).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2
