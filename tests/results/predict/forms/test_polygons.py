"""Polygons with coordinates: GeoJSON and GeoPackage."""

import json
import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.transform import from_origin
from rasterio.warp import transform

from coatseg.data.images.statements.geotags import NOWHERE, GeoTags
from coatseg.errors import ImageError
from coatseg.results.predict.forms.outlines import one_ring, outlines
from coatseg.results.predict.forms.regions import regions_of
from tests.results.predict.forms.predictions import INFO, SIZE, label_map, layers, objects, write

UTM = GeoTags(CRS.from_epsg(32632).to_wkt(), (0.5, 0.0, 300000.0, 0.0, -0.5, 5000000.0))
UNKNOWN = GeoTags("", UTM.transform)
SOUTH_UP = GeoTags(UTM.crs, (0.5, 0.0, 300000.0, 0.0, 0.5, 5000000.0))


@pytest.mark.parametrize("seed", range(6))
def test_outlines_run_along_pixels_and_one_ring_of_them_paints_the_mask(seed: int) -> None:
    for region in regions_of(label_map(seed), INFO):
        mask = region.whole_mask(SIZE)
        polygons = outlines(region)
        shapes = [{"type": "Polygon", "coordinates": [[*ring, ring[0]] for ring in one]} for one in polygons]
        assert np.array_equal(rasterize(shapes, SIZE).astype(bool), mask)
        ring = one_ring(polygons)
        flat = coco_masks.frPyObjects([ring.ravel().tolist()], *SIZE)
        assert np.array_equal(coco_masks.decode(flat)[..., 0].astype(bool), mask)


def features(folder: Path) -> list[dict[str, Any]]:
    content = json.loads((folder / "polygons" / "a.geojson").read_text())
    assert content["type"] == "FeatureCollection"
    found: list[dict[str, Any]] = content["features"]
    return found


@pytest.mark.parametrize("tags", [None, UNKNOWN], ids=["no GeoTIFF", "no reference system"])
def test_geojson_without_coordinates_is_in_pixels_as_qupath_takes_it(tmp_path: Path, tags: GeoTags | None) -> None:
    written = label_map()
    write("geojson", "semantic", written, tmp_path, tags=tags)
    labels = np.full(SIZE, 255, np.uint8)
    for feature in features(tmp_path):
        classification = feature["properties"]["classification"]
        label = INFO.classes.index(classification["name"])
        assert classification["color"] == list(INFO.palette[label])
        labels[rasterize([feature["geometry"]], SIZE).astype(bool)] = label
    assert np.array_equal(labels, written.labels)


def test_geojson_of_objects_is_a_feature_an_object_with_its_score(tmp_path: Path) -> None:
    found = objects()
    write("geojson", "instances", found, tmp_path)
    rows = features(tmp_path)
    assert [row["properties"]["score"] for row in rows] == pytest.approx([0.9, 0.8, 0.5])
    assert [row["geometry"]["type"] for row in rows] == ["Polygon", "MultiPolygon", "Polygon"]
    for row, mask in zip(rows, found.masks.numpy(), strict=False):
        assert np.array_equal(rasterize([row["geometry"]], SIZE).astype(bool), mask)
    write("geojson", "boxes", objects(masks=False), tmp_path / "boxes")
    assert features(tmp_path / "boxes")[0]["geometry"]["coordinates"][0][2] == [20, 12]


def test_geojson_of_a_geotiff_is_longitude_and_latitude_and_winds_as_the_standard_says(tmp_path: Path) -> None:
    writer = write("geojson", "instances", objects(), tmp_path, tags=UTM)
    assert "WGS 84" in writer.words
    outer, hole = (np.array(ring) for ring in features(tmp_path)[0]["geometry"]["coordinates"])
    assert area(outer) > 0 > area(hole)
    x, y = transform(CRS.from_epsg(4326), CRS.from_epsg(32632), *outer.T.tolist())
    assert min(x) == pytest.approx(300000 + 3 * 0.5, abs=1e-3)
    assert max(x) == pytest.approx(300000 + 20 * 0.5, abs=1e-3)
    assert max(y) == pytest.approx(5000000 - 2 * 0.5, abs=1e-3)
    write("geojson", "instances", objects(), tmp_path / "pixels", tags=UTM, pixels=True)
    assert np.array(features(tmp_path / "pixels")[0]["geometry"]["coordinates"][0]).max() == 20


@pytest.mark.parametrize("tags", [None, UTM, SOUTH_UP], ids=["pixels", "north up", "south up"])
def test_polygons_wind_as_the_standard_says_in_pixels_too(tmp_path: Path, tags: GeoTags | None) -> None:
    write("geojson", "semantic", label_map(), tmp_path, tags=tags, pixels=tags is None)
    write("geopackage", "semantic", label_map(), tmp_path / "package", tags=tags)
    rings = [[np.array(ring) for ring in row["geometry"]["coordinates"]] for row in features(tmp_path)]
    _, rows = read_package(tmp_path / "package" / "polygons" / "a.gpkg")
    rings += [polygon for row in rows for polygon in decode(row[0])[2]]
    assert sum(map(len, rings)) > len(rings)
    assert all((area(ring) > 0) == (number == 0) for polygon in rings for number, ring in enumerate(polygon))


@pytest.mark.parametrize("tags", [GeoTags("", NOWHERE), GeoTags(UTM.crs, NOWHERE)], ids=["slide", "no transform"])
def test_polygons_of_a_smaller_level_are_in_pixels_of_the_full_resolution(tmp_path: Path, tags: GeoTags) -> None:
    """As QuPath counts them, and as data=geojson reads them."""
    write("geojson", "instances", objects(), tmp_path, tags=tags.reduced((4.0, 2.0)))
    assert extent(features(tmp_path)[0]["geometry"]["coordinates"][0]) == (2 * 3, 4 * 2, 2 * 20, 4 * 12)
    write("geopackage", "instances", objects(), tmp_path / "package", tags=tags.reduced((4.0, 2.0)))
    base, rows = read_package(tmp_path / "package" / "polygons" / "a.gpkg")
    assert extent(decode(rows[0][0])[2][0][0]) == (2 * 3, 4 * 2, 2 * 20, 4 * 12)
    assert base.execute("SELECT srs_id FROM gpkg_contents").fetchone() == (-1,)
    write("geojson", "boxes", objects(masks=False), tmp_path / "map", tags=UTM.reduced((4.0, 2.0)), pixels=True)
    assert extent(features(tmp_path / "map")[0]["geometry"]["coordinates"][0]) == (2 * 3, 4 * 2, 2 * 20, 4 * 12)


def test_a_geopackage_states_no_number_that_is_but_likely(tmp_path: Path) -> None:
    unnamed = CRS.from_proj4("+proj=tmerc +lon_0=9 +k=0.9996 +x_0=500000 +ellps=GRS80 +units=m")
    for crs, expected in ((unnamed, ("NONE", 100000)), (CRS.from_epsg(32632), ("EPSG", 32632))):
        write("geopackage", "semantic", label_map(), tmp_path / expected[0], tags=GeoTags(crs.to_wkt(), UTM.transform))
        base, _ = read_package(tmp_path / expected[0] / "polygons" / "a.gpkg")
        stated = base.execute(
            "SELECT organization, organization_coordsys_id, definition FROM gpkg_spatial_ref_sys "
            "JOIN gpkg_contents USING (srs_id)"
        ).fetchone()
        assert stated[:2] == expected
        assert CRS.from_wkt(stated[2]) == crs


def extent(ring: Any) -> tuple[float, ...]:
    corners = np.array(ring)
    return (*corners.min(0).tolist(), *corners.max(0).tolist())


def area(ring: np.ndarray) -> float:
    x, y = (ring - ring[0])[:-1].T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def test_coordinates_that_are_nowhere_on_earth_are_refused(tmp_path: Path) -> None:
    local = 'LOCAL_CS["a building",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    for tags in (GeoTags(local, UTM.transform), GeoTags(UTM.crs, (0.5, 0.0, 1e9, 0.0, -0.5, 1e9))):
        with pytest.raises(ImageError, match=r"a\.png: its coordinates cannot be turned into longitude"):
            write("geojson", "semantic", label_map(), tmp_path, tags=tags)


def read_package(path: Path) -> tuple[sqlite3.Connection, list[tuple[Any, ...]]]:
    base = sqlite3.connect(path)
    return base, base.execute("SELECT geom, class, number, color, score FROM polygons ORDER BY fid").fetchall()


def decode(blob: bytes) -> tuple[int, tuple[float, ...], list[list[np.ndarray]]]:
    """Decode a geometry of a GeoPackage: its system, its extent and its polygons of closed rings."""
    magic, version, flags, system, *extent = struct.unpack_from("<2sBBi4d", blob)
    assert (magic, version, flags) == (b"GP", 0, 3)
    place = 40
    order, kind, parts = struct.unpack_from("<BII", blob, place)
    assert (order, kind) == (1, 6)
    place += 9
    polygons = []
    for _ in range(parts):
        _, kind, rings = struct.unpack_from("<BII", blob, place)
        assert kind == 3
        place += 9
        polygon = []
        for _ in range(rings):
            (count,) = struct.unpack_from("<I", blob, place)
            polygon.append(np.frombuffer(blob, "<f8", 2 * count, place + 4).reshape(-1, 2))
            place += 4 + 16 * count
        polygons.append(polygon)
    assert place == len(blob)
    return system, tuple(extent), polygons


def test_a_geopackage_has_the_coordinates_of_the_geotiff(tmp_path: Path) -> None:
    written = label_map()
    write("geopackage", "semantic", written, tmp_path, tags=UTM)
    base, rows = read_package(tmp_path / "polygons" / "a.gpkg")
    assert base.execute("PRAGMA application_id").fetchone() == (0x47504B47,)
    assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert base.execute(
        "SELECT organization, organization_coordsys_id FROM gpkg_spatial_ref_sys WHERE srs_id = 32632"
    ).fetchone() == ("EPSG", 32632)
    extent = base.execute("SELECT min_x, max_y, srs_id FROM gpkg_contents").fetchone()
    assert extent == (300000.0, 5000000.0, 32632)
    labels = np.full(SIZE, 255, np.uint8)
    place = from_origin(300000, 5000000, 0.5, 0.5)
    for blob, name, number, colour, score in rows:
        system, bounds, polygons = decode(blob)
        assert system == 32632
        assert bounds[0] == min(polygon[0][:, 0].min() for polygon in polygons)
        assert INFO.classes[number] == name
        assert colour == "#{:02x}{:02x}{:02x}".format(*INFO.palette[number])
        assert score is None
        shape = {"type": "MultiPolygon", "coordinates": [[ring.tolist() for ring in one] for one in polygons]}
        labels[rasterize([shape], SIZE, transform=place).astype(bool)] = number
    assert np.array_equal(labels, written.labels)


def test_a_geopackage_without_coordinates_is_a_plane_of_pixels(tmp_path: Path) -> None:
    write("geopackage", "multilabel", layers(), tmp_path)
    base, rows = read_package(tmp_path / "polygons" / "a.gpkg")
    assert base.execute("SELECT srs_id FROM gpkg_geometry_columns").fetchone() == (-1,)
    assert {row[2] for row in rows} == {0, 2}
    write("geopackage", "instances", objects(), tmp_path / "objects", tags=UNKNOWN)
    _, rows = read_package(tmp_path / "objects" / "polygons" / "a.gpkg")
    assert [row[4] for row in rows] == pytest.approx([0.9, 0.8, 0.5])
    assert decode(rows[0][0])[1] == (300001.5, 300010.0, 4999994.0, 4999999.0)


def test_a_geopackage_of_nothing_is_empty_and_whole(tmp_path: Path) -> None:
    write("geopackage", "semantic", label_map(), tmp_path, leave_out=list(INFO.classes))
    base, rows = read_package(tmp_path / "polygons" / "a.gpkg")
    assert rows == []
    assert base.execute("SELECT min_x FROM gpkg_contents").fetchone() == (None,)
