"""for=geopackage: polygons of what was predicted, in the coordinates of the file that they were predicted from.

A GeoPackage is an SQLite database with tables of these names (OGC 12-128r18, https://www.geopackage.org/spec130), so
that Python's own sqlite3 writes it.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from contextlib import closing

import numpy as np

from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.results.predict.canvas import Written
from coatseg.results.predict.forms.geojson import FOLDER
from coatseg.results.predict.forms.outlines import Polygon, shapes_of
from coatseg.results.predict.forms.places import is_placed, placed
from coatseg.results.predict.forms.regions import labels_left, regions_of
from coatseg.results.predict.writers import Writer
from coatseg.structures import DatasetInfo
from coatseg.system.extras import needs
from coatseg.system.fsspec_folders import Place

TABLE = "polygons"
UNKNOWN_PLANE = -1
"""The number that the standard gives to flat coordinates of no known system, such as pixels."""
OWN_SYSTEM = 100000
"""The number of a system in a file that EPSG has none for."""

TABLES = f"""
PRAGMA application_id = 0x47504B47;
PRAGMA user_version = 10300;
CREATE TABLE gpkg_spatial_ref_sys (
    srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
    organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT
);
CREATE TABLE gpkg_contents (
    table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '',
    last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE,
    srs_id INTEGER REFERENCES gpkg_spatial_ref_sys (srs_id)
);
CREATE TABLE gpkg_geometry_columns (
    table_name TEXT NOT NULL UNIQUE REFERENCES gpkg_contents (table_name), column_name TEXT NOT NULL,
    geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL REFERENCES gpkg_spatial_ref_sys (srs_id),
    z TINYINT NOT NULL, m TINYINT NOT NULL, PRIMARY KEY (table_name, column_name)
);
CREATE TABLE {TABLE} (
    fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, geom MULTIPOLYGON, class TEXT, number INTEGER, color TEXT,
    score DOUBLE
);
"""


class GeoPackage(Writer):
    """Writes polygons/ID.gpkg: a row an object, or one for each part of a class that holds together.

    Coordinates are those of the GeoTIFF and its coordinate reference system; for images without a transform they are
    pixels from the corner at the top left, y pointing down. Classes whose names are in `leave_out` are left out.

    Raises:
        ConfigError: rasterio is not installed, or there is no such class.
    """

    folders = (FOLDER,)
    words = f"{FOLDER}/ID.gpkg in the coordinates of the GeoTIFF, else in pixels"
    any_score = True

    def __init__(self, place: Place, info: DatasetInfo, *, leave_out: list[str] | None = None) -> None:
        needs("for=geopackage", "geo", "rasterio")
        super().__init__(place, info)
        self.labels = labels_left(info, leave_out)

    def done(self, source: Source) -> bool:
        """Look for the file."""
        return self.place.exists(self._path(source))

    def write(self, source: Source, written: Written, tags: GeoTags | None) -> None:
        """Write the polygons."""
        kept = tags if tags is not None and is_placed(tags) else None
        rows = []
        corners = []
        system = _system(kept)
        for region in regions_of(written, self.info):
            name, rgb = self.info.classes[region.label], self.info.palette[region.label]
            for shape in shapes_of(region) if region.label in self.labels else ():
                polygons = shape if kept is None else placed(shape, kept)
                rows.append(
                    (encode_geometry(polygons, system[1]), name, region.label, "#" + bytes(rgb).hex(), region.score)
                )
                corners += [polygon[0] for polygon in polygons]
        extent = _extent(corners) if corners else (None,) * 4
        self.place.write(self._path(source), _database(source.id, system, extent, rows))

    def _path(self, source: Source) -> str:
        return f"{FOLDER}/{source.id}.gpkg"


System = tuple[str, int, str, int, str]
"""A row of gpkg_spatial_ref_sys: name, number, organization, its number there, and definition as WKT."""

SYSTEMS: tuple[System, ...] = (
    ("Undefined Cartesian", UNKNOWN_PLANE, "NONE", UNKNOWN_PLANE, "undefined"),
    ("Undefined geographic", 0, "NONE", 0, "undefined"),
)


def _system(tags: GeoTags | None) -> System:
    """Return the coordinate reference system of a file."""
    if tags is None or not tags.crs:
        return SYSTEMS[0]
    from rasterio.crs import CRS

    crs = CRS.from_wkt(tags.crs)
    epsg = crs.to_epsg()
    name = tags.crs.split('"')[1]
    return (name, epsg, "EPSG", epsg, tags.crs) if epsg else (name, OWN_SYSTEM, "NONE", OWN_SYSTEM, tags.crs)


def _database(
    identifier: str, system: System, extent: Sequence[float | None], rows: Sequence[tuple[object, ...]]
) -> bytes:
    from rasterio.crs import CRS

    wgs84 = ("WGS 84", 4326, "EPSG", 4326, CRS.from_epsg(4326).to_wkt())
    systems = {one[1]: one for one in (*SYSTEMS, wgs84, system)}
    with closing(sqlite3.connect(":memory:")) as base:
        base.executescript(TABLES)
        base.executemany(
            "INSERT INTO gpkg_spatial_ref_sys (srs_name, srs_id, organization, organization_coordsys_id, definition) "
            "VALUES (?, ?, ?, ?, ?)",
            systems.values(),
        )
        base.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, min_x, min_y, max_x, max_y, srs_id) "
            "VALUES (?, 'features', ?, ?, ?, ?, ?, ?)",
            (TABLE, identifier, *extent, system[1]),
        )
        base.execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', 'MULTIPOLYGON', ?, 0, 0)", (TABLE, system[1])
        )
        base.executemany(
            f"INSERT INTO {TABLE} (geom, class, number, color, score) VALUES (?, ?, ?, ?, ?)",
            rows,
        )
        base.commit()
        return base.serialize()


def _extent(rings: Sequence[np.ndarray]) -> tuple[float, float, float, float]:
    """Return the least x and y and the largest of rings."""
    corners = np.concatenate(rings)
    (left, low), (right, high) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return left, low, right, high


def encode_geometry(polygons: Sequence[Polygon], system: int) -> bytes:
    """Encode polygons as a MultiPolygon: GeoPackage's header with the extent, then well-known binary, little-endian."""
    left, low, right, high = _extent([polygon[0] for polygon in polygons])
    header = struct.pack("<2sBBi4d", b"GP", 0, 0b00000011, system, left, right, low, high)
    parts = [struct.pack("<BII", 1, 6, len(polygons))]
    for polygon in polygons:
        parts.append(struct.pack("<BII", 1, 3, len(polygon)))
        for ring in polygon:
            closed = np.concatenate([ring, ring[:1]])
            parts += [struct.pack("<I", len(closed)), closed.astype("<f8").tobytes()]
    return header + b"".join(parts)
