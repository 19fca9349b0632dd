"""for=geojson: polygons of what was predicted, for maps (RFC 7946) and for QuPath."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.errors import ImageError
from coatseg.results.predict.canvas import Written
from coatseg.results.predict.forms.outlines import Polygon, plain, shapes_of
from coatseg.results.predict.forms.places import is_placed, placed, wound
from coatseg.results.predict.forms.regions import Region, labels_left, regions_of
from coatseg.results.predict.writers import Writer
from coatseg.structures import DatasetInfo
from coatseg.system.extras import needs
from coatseg.system.fsspec_folders import Place

FOLDER = "polygons"
WGS84 = "EPSG:4326"
DECIMALS = 9
"""Of degrees: a tenth of a millimetre."""


class GeoJson(Writer):
    """Writes polygons/ID.geojson: a feature an object, or one for each part of a class that holds together.

    Coordinates are longitude and latitude (WGS 84), as RFC 7946 has them, for a GeoTIFF with a coordinate reference
    system and a transform; for other images, and for all with `pixels`, they are pixels from the corner at the top
    left, as QuPath takes them. The class is properties.classification, with its name and colour. Classes whose names
    are in `leave_out` are left out.

    Raises:
        ConfigError: rasterio is not installed, or there is no such class.
    """

    folders = (FOLDER,)
    words = (
        f"{FOLDER}/ID.geojson in longitude and latitude (WGS 84), reprojected, where a GeoTIFF has coordinates; others "
        "in pixels"
    )
    any_score = True

    def __init__(
        self, place: Place, info: DatasetInfo, *, pixels: bool = False, leave_out: list[str] | None = None
    ) -> None:
        needs("for=geojson", "geo", "rasterio")
        super().__init__(place, info)
        self.labels = labels_left(info, leave_out)
        self.pixels = pixels
        if pixels:
            self.words = f"{FOLDER}/ID.geojson in pixels"

    def done(self, source: Source) -> bool:
        """Look for the file."""
        return self.place.exists(self._path(source))

    def write(self, source: Source, written: Written, tags: GeoTags | None) -> None:
        """Write the features.

        Raises:
            ImageError: the file's coordinates cannot be turned into longitude and latitude.
        """
        kept = tags if tags is not None and is_placed(tags) and tags.crs and not self.pixels else None
        regions = [region for region in regions_of(written, self.info) if region.label in self.labels]
        features = [self._feature(region, shape) for region in regions for shape in shapes_of(region)]
        if kept is not None and features:
            shapes = _in_degrees([placed(shape, kept) for _, shape in features], kept, source)
        else:
            shapes = [geometry_of(shape) for _, shape in features]
        rows = [
            {"type": "Feature", "geometry": shape, "properties": properties}
            for (properties, _), shape in zip(features, shapes, strict=True)
        ]
        content = {"type": "FeatureCollection", "features": rows}
        self.place.write(self._path(source), json.dumps(content, allow_nan=False).encode())

    def _path(self, source: Source) -> str:
        return f"{FOLDER}/{source.id}.geojson"

    def _feature(self, region: Region, shape: Sequence[Polygon]) -> tuple[dict[str, Any], Sequence[Polygon]]:
        name, colour = self.info.classes[region.label], self.info.palette[region.label]
        classification = {"name": name, "color": list(colour)}
        properties = {"objectType": "annotation", "classification": classification, "number": region.label}
        return properties if region.score is None else {**properties, "score": region.score}, shape


def geometry_of(polygons: Sequence[Polygon]) -> dict[str, Any]:
    """Return polygons as a geometry of GeoJSON, whose rings end where they begin."""
    parts = [[plain(np.concatenate([ring, ring[:1]])) for ring in polygon] for polygon in polygons]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _in_degrees(shapes: Sequence[Sequence[Polygon]], tags: GeoTags, source: Source) -> list[dict[str, Any]]:
    from rasterio._err import CPLE_BaseError  # what PROJ refuses is raised as this, which is no RasterioError
    from rasterio.crs import CRS
    from rasterio.errors import RasterioError
    from rasterio.warp import transform_geom

    crs = CRS.from_wkt(tags.crs)
    try:
        if not (crs.is_geographic or crs.is_projected):
            raise RasterioError("their reference system is not of the Earth")
        turned = transform_geom(crs, WGS84, [geometry_of(shape) for shape in shapes], precision=DECIMALS)
        made = [geometry_of([wound(_rings(part)) for part in _parts(shape)]) for shape in turned]
    except (RasterioError, CPLE_BaseError, ValueError) as error:
        raise ImageError(
            f"{source.name}: its coordinates cannot be turned into longitude and latitude: {error}.",
            "Set for.pixels=true, or take for=geopackage.",
        ) from error
    return made


def _parts(shape: dict[str, Any]) -> list[Any]:
    parts: list[Any] = [shape["coordinates"]] if shape["type"] == "Polygon" else shape["coordinates"]
    return parts


def _rings(polygon: Sequence[Any]) -> Polygon:
    """Return the rings of a polygon of GeoJSON; raise ValueError if they are beyond what a projection maps."""
    rings = [np.array(ring[:-1], np.float64) for ring in polygon]
    if not all(np.isfinite(ring).all() for ring in rings):
        raise ValueError("some lie beyond what their reference system maps")
    return rings
