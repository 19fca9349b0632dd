"""Check that an image and its mask, both GeoTIFFs, show the same place on Earth, pixel by pixel."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from coatseg.data.images.statements.geotags import Affine, GeoTags, read_tags
from coatseg.data.images.tiff.header import read_header
from coatseg.errors import DatasetError
from coatseg.structures import Size

TOLERANCE = 0.1
"""How far apart the corners of an image and its mask may lie, in pixels of the image."""

_MEND = "Put the mask on the image's grid, as gdalwarp does, or take the georeference out of one if it is wrong."


def check_same_place(image: Path, mask: Path, size: Size) -> None:
    """Check the georeferences of an image and its mask, both read as `size` (height, width), a level of a pyramid too.

    Files that state none pass, and so do all where rasterio is not installed. Ground control points are not compared.

    Raises:
        ImageError: a file is damaged.
        DatasetError: reference systems differ, or corners are more than a tenth of a pixel apart.
    """
    if importlib.util.find_spec("rasterio") is None:
        return
    ours, theirs = _placed(image, size), _placed(mask, size)
    if ours is None or theirs is None:
        return
    _check_systems(image, ours, mask, theirs)
    away = _distance(ours, theirs, size)
    if away > TOLERANCE:
        raise DatasetError(
            f"The mask {mask} lies elsewhere than its image {image}: {_difference(ours, theirs)}"
            f"a corner is {away:.1f} pixels away.",
            _MEND,
        )


def _placed(path: Path, size: Size) -> GeoTags | None:
    """Return the georeference of the level of this size in an upright file that states one; None for others."""
    header = read_header(path)
    if header is not None and header.orientation != 1:
        return None
    tags = read_tags(path)
    if tags is None or tags.points or _affine(tags).is_identity:
        return None
    if header is None or header.size == size:
        return tags
    return tags.reduced((header.size[0] / size[0], header.size[1] / size[1]))  # it states that of full resolution


def _check_systems(image: Path, ours: GeoTags, mask: Path, theirs: GeoTags) -> None:
    from rasterio.crs import CRS

    if not ours.crs or not theirs.crs or ours.crs == theirs.crs:
        return
    systems = [CRS.from_wkt(tags.crs) for tags in (ours, theirs)]
    if systems[0] != systems[1]:
        names = [_name(system) for system in systems]
        raise DatasetError(f"The mask {mask} is in {names[1]}, and its image {image} in {names[0]}.", _MEND)


def _name(system: Any) -> str:
    code = system.to_epsg()
    return f"EPSG:{code}" if code else str(system.to_wkt()).partition(",")[0].partition('"')[2].strip('"')


def _distance(ours: GeoTags, theirs: GeoTags, size: Size) -> float:
    """Return how far the corners of the mask lie from those of the image at most, in pixels of the image."""
    to_pixels: Affine = tuple(~_affine(ours))[:6]
    corners = [(x, y) for x in (0, size[1]) for y in (0, size[0])]
    moved = [_moved(to_pixels, _moved(theirs.transform, corner)) for corner in corners]
    return max(max(abs(x - u), abs(y - v)) for (x, y), (u, v) in zip(corners, moved, strict=True))


def _moved(transform: Affine, point: tuple[float, float]) -> tuple[float, float]:
    (a, b, c, d, e, f), (x, y) = transform, point
    return a * x + b * y + c, d * x + e * y + f


def _difference(ours: GeoTags, theirs: GeoTags) -> str:
    """Return in words what else than the place differs."""
    (width, *_, height, _), (other_width, *_, other_height, _) = ours.transform, theirs.transform
    if height * other_height < 0:
        return "one has its rows from north to south, the other from south to north; "
    if abs(abs(width) - abs(other_width)) > 1e-6 * abs(width):
        return f"its pixels are {abs(other_width):g} wide, those of the image {abs(width):g}; "
    return ""


def _affine(tags: GeoTags) -> Any:
    import rasterio

    return rasterio.Affine(*tags.transform)
