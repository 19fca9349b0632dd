"""Polygons along the edges of a mask's pixels, so that who paints them by area gets the mask back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from coatseg.results.predict.forms.regions import Region

Ring = npt.NDArray[np.float64]
"""The corners (P, 2) of a closed line, x and y in pixels; the first is not repeated at the end."""
Polygon = list[Ring]
"""An outer ring, and those of the holes in it."""


def outlines(region: Region) -> list[Polygon]:
    """Return the polygons of a region: one for each part of its mask whose pixels share edges, or its box.

    They come from rasterio, see `coatseg.system.extras.needs`.
    """
    left, top, right, bottom = region.box
    if region.mask is None:
        return [[np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)]]
    from rasterio import Affine
    from rasterio.features import shapes

    mask = np.ascontiguousarray(region.mask)
    found = shapes(mask.view(np.uint8), mask=mask, connectivity=4, transform=Affine.translation(left, top))
    return [[np.array(ring[:-1], np.float64) for ring in shape["coordinates"]] for shape, _ in found]


def shapes_of(region: Region) -> Iterator[Sequence[Polygon]]:
    """Yield an object's polygons together, and those of a class of pixels one by one."""
    polygons = outlines(region)
    yield from [polygons] if region.score is not None else ([polygon] for polygon in polygons)


def one_ring(polygons: Sequence[Polygon]) -> Ring:
    """Return all rings of polygons as one, for formats that have neither holes nor parts.

    Each is reached from the first ring and left again on one and the same line, from where the two are nearest: painted
    by crossings, as pycocotools does it, such a line has no area, holes stay holes and parts stay parts.
    """
    rings = [ring for polygon in polygons for ring in polygon]
    first, others = rings[0], rings[1:]
    if not others:
        return first
    corners = KDTree(first)
    detours: dict[int, list[Ring]] = {}
    for ring in others:
        distances, places = corners.query(ring)
        begin = int(distances.argmin())
        place = int(places[begin])
        loop = np.concatenate([ring[begin:], ring[: begin + 1]])
        detours.setdefault(place, []).append(np.concatenate([loop, first[place : place + 1]]))
    pieces: list[Ring] = []
    for place in range(len(first)):
        pieces += [first[place : place + 1], *detours.get(place, [])]
    return np.concatenate(pieces)


def plain(ring: Ring) -> list[list[float]]:
    """Return the corners of a ring as lists, whole numbers without a decimal point."""
    whole = np.rint(ring)
    corners: list[list[float]] = (whole.astype(np.int64) if (whole == ring).all() else ring).tolist()
    return corners
