"""Objects in GeoJSON as QuPath exports it: outlines in pixels of the full resolution, with holes and classes.

The format: https://datatracker.ietf.org/doc/html/rfc7946 and
https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.formats.json_file import read_json
from coatseg.data.annotations.objects.entries import Kind, extent_of
from coatseg.errors import DatasetError
from coatseg.structures import Colour, Size

EXPORT = "Export it again from QuPath as GeoJSON, in pixels of the full resolution."
OUTLINES = ("Polygon", "MultiPolygon")
OTHERS = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString", "GeometryCollection"})
HALF_A_PIXEL = 0.5
IN_OTHER_PLANES = ("object in another plane of its image", "objects in other planes of their images")

Ring = npt.NDArray[np.float64]
"""The points (N, 2) of an outline, the first and the last the same."""


@dataclass(frozen=True)
class Feature:
    """A feature: its number in the file, counted from 1, its class and colour or None, and its polygons.

    A polygon is the numbers x and y in turn. A hole is a part of the same polygon, joined to it by a line that is
    walked there and back, which a painter by parity, as pycocotools is, leaves without a trace. There are no polygons
    where the feature is a point or line, or lies in another plane of its image; `left_out` says what it is.
    """

    number: int
    name: str | None
    colour: Colour | None
    polygons: list[list[float]]
    left_out: Kind | None = None


def read_features(path: Path) -> list[Feature]:
    """Read the features of a file.

    Raises:
        DatasetError: it cannot be read or is no GeoJSON, has a coordinate system of a map, or an outline makes no
            sense.
    """
    return [_feature(f"{path}, feature {number}", number, stated) for number, stated in enumerate(_features(path), 1)]


def names_in(path: Path) -> dict[str, Colour | None]:
    """Map the classes of the outlines in a file, in the order met, to their colours or None.

    Raises:
        DatasetError: it cannot be read or is no GeoJSON, or a class makes no sense.
    """
    found: dict[str, Colour | None] = {}
    for number, feature in enumerate(_features(path), 1):
        name, colour = _classification(f"{path}, feature {number}", feature.get("properties") or {})
        if name is not None and feature["geometry"].get("type") in OUTLINES:
            found[name] = found.get(name) or colour
    return found


def _features(path: Path) -> list[dict[str, Any]]:
    content = read_json(path, "Copy or export it again.")
    if isinstance(content, dict) and content.get("crs") is not None:
        raise DatasetError(
            f"{path} has a coordinate system, crs: its coordinates are those of a map, and not pixels.",
            "Convert them to pixels of the image, x to the right and y down, and leave crs out.",
        )
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if not isinstance(features, list) or not all(_is_feature(feature) for feature in features):
        raise DatasetError(f"{path} is no GeoJSON of features.", EXPORT)
    return features


def check_pixels(path: Path, features: list[Feature], size: Size) -> None:
    """Raise DatasetError if no outline is a pixel large and in the image: the coordinates are of another unit then."""
    extents = [extent_of(feature.polygons) for feature in features if feature.polygons]
    boxes = np.array(extents).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    large = (boxes[:, 2:] - boxes[:, :2] >= 1).any(1)
    inside = (boxes[:, 2:] > 0).all(1) & (boxes[:, :2] < np.array(size[::-1])).all(1)
    if len(boxes) and not (large & inside).any():
        x, y = boxes[0, :2]
        raise DatasetError(
            f"{path}: no outline is in its image of {size[0]}x{size[1]} and larger than a pixel; the first "
            f"is at (x={x:g}, y={y:g}).",
            "Coordinates are pixels of the full resolution, x to the right and y down: convert degrees, metres or "
            "micrometres to them.",
        )


def _is_feature(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get("type") == "Feature" and isinstance(feature.get("geometry"), dict)


def _feature(place: str, number: int, feature: dict[str, Any]) -> Feature:
    geometry = feature["geometry"]
    name, colour = _classification(place, feature.get("properties") or {})
    kind, plane = geometry.get("type"), geometry.get("plane") or {}
    if kind in OTHERS:
        return Feature(number, name, colour, [], (kind, f"{kind}s"))
    if kind not in OUTLINES:
        raise DatasetError(f"{place} has a geometry of the type {brief(kind)}.", f"Known are {', '.join(OUTLINES)}.")
    if plane.get("z", 0) or plane.get("t", 0):
        return Feature(number, name, colour, [], IN_OTHER_PLANES)
    stated = geometry.get("coordinates")
    parts = [stated] if kind == "Polygon" else stated
    if not isinstance(parts, list) or not all(isinstance(part, list) and part for part in parts):
        raise DatasetError(f"{place} has no coordinates.", EXPORT)
    return Feature(number, name, colour, [_joined(place, [_ring(place, ring) for ring in part]) for part in parts])


def _classification(place: str, properties: dict[str, Any]) -> tuple[str | None, Colour | None]:
    """Return the class of a feature and its colour; both as today's QuPath writes them, and as older ones do."""
    stated = properties.get("classification") or {}
    names = stated.get("names")
    name = ": ".join(map(str, names)) if names else stated.get("name")
    colour, packed = stated.get("color"), stated.get("colorRGB")
    if colour is None and isinstance(packed, int):
        colour = [packed >> 16 & 255, packed >> 8 & 255, packed & 255]
    if colour is not None and not _is_colour(colour):
        raise DatasetError(f"{place} has the colour {brief(colour)}.", "A colour is [red, green, blue], each 0 to 255.")
    return None if name is None else str(name), None if colour is None else (colour[0], colour[1], colour[2])


def _is_colour(colour: Any) -> bool:
    return isinstance(colour, list) and len(colour) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in colour)


def _ring(place: str, stated: Any) -> Ring:
    try:
        points = np.array([[point[0], point[1]] for point in stated], np.float64).reshape(-1, 2)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise DatasetError(f"{place} has an outline that is no list of points.", EXPORT) from error
    if not np.isfinite(points).all():
        raise DatasetError(f"{place} has an outline with a coordinate that is no number.", EXPORT)
    if len(points) < 4 or (points[0] != points[-1]).any():
        raise DatasetError(
            f"{place} has an outline that is not closed: its last point is not its first, or it has fewer than four.",
            "Repeat the first point at the end, if that is where it closes.",
        )
    return points


def _joined(place: str, rings: list[Ring]) -> list[float]:
    """Return an outline and its holes as one polygon: from the first point to each hole, around it, and back."""
    outer, holes = rings[0], rings[1:]
    for hole in holes:
        _check_inside(place, outer, hole)
    walked = [outer]
    for hole in holes:
        walked += [hole, outer[:1]]
    numbers: list[float] = np.concatenate(walked if holes else [outer[:-1]]).ravel().tolist()
    return numbers


def _check_inside(place: str, outer: Ring, hole: Ring) -> None:
    contour = (outer - outer[0]).astype(np.float32)
    for x, y in (hole - outer[0]).tolist():
        if cv2.pointPolygonTest(contour, (x, y), measureDist=True) < -HALF_A_PIXEL:
            raise DatasetError(f"{place} has a hole that reaches out of its outline.", "Correct it there.")
