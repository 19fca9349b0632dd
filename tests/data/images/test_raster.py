import itertools
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

import coatseg
from coatseg.data.images.raster import Window, read_raster
from coatseg.data.images.reading import ColourMasks, read_image, read_label_map, read_size
from coatseg.data.images.statements.geotags import GeoTags, encode_label_map, read_tags
from coatseg.data.images.tiff.header import check_length
from coatseg.errors import DatasetError, ImageError
from tests.data.rasters import write_tiff

RNG = np.random.default_rng(0)
SIZE = (40, 56)
WINDOW = Window(13, 9, 20, 30)
CUT = (slice(13, 33), slice(9, 39))
UTM32 = rasterio.CRS.from_epsg(32632)
TAGS = GeoTags(UTM32.to_wkt(), (10.0, 0.0, 500000.0, 0.0, -10.0, 5.0e6))


def pixels(channels, dtype, size=SIZE):
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    return (RNG.random((*size, channels)) * top).astype(dtype)


LAYOUTS = [
    {"interleave": interleave, "tiled": tiled, "compress": compress}
    for interleave, tiled, compress in itertools.product(
        ("pixel", "band"), (False, True), ("none", "lzw", "deflate", "zstd")
    )
]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 13, 16])
def test_every_layout_is_read_as_written_whole_and_by_windows(tmp_path, channels, dtype):
    image = pixels(channels, dtype)
    for photometric, layout in itertools.product((None, "MINISBLACK", "RGB"), LAYOUTS):
        if photometric == "RGB" and channels < 3:
            continue
        extra = {"photometric": photometric} if photometric else {}
        path = write_tiff(tmp_path / "image.tif", image, **layout, **extra)
        assert read_size(path, channels) == SIZE
        for given, expected in ((None, image), (WINDOW, image[CUT])):
            read = read_image(path, channels, window=given)
            assert read.dtype == dtype
            assert read.flags.c_contiguous
            np.testing.assert_array_equal(read, expected, err_msg=f"{photometric} {layout} {given}")


@pytest.mark.parametrize("photometric", ["RGB", "YCBCR"])
def test_jpeg_inside_tiff_is_read_whole_and_by_windows(tmp_path, photometric):
    image = cv2.GaussianBlur(pixels(3, "uint8", (128, 160)), (31, 31), 0)
    path = write_tiff(tmp_path / "slide.tif", image, tiled=True, compress="jpeg", photometric=photometric)
    for given, expected in ((None, image), (WINDOW, image[CUT])):
        assert np.abs(read_image(path, 3, window=given).astype(int) - expected).max() <= 12


@pytest.mark.parametrize(("dtype", "predictor"), [("uint8", 2), ("uint16", 2), ("float32", 3)])
def test_predictors_are_undone_whole_and_by_windows(tmp_path, dtype, predictor):
    image = pixels(3, dtype)
    path = write_tiff(tmp_path / "a.tif", image, compress="deflate", predictor=predictor, interleave="pixel")
    np.testing.assert_array_equal(read_image(path, 3), image)
    np.testing.assert_array_equal(read_image(path, 3, window=WINDOW), image[CUT])


@pytest.mark.parametrize("layout", [{"interleave": "pixel"}, {"interleave": "band"}])
def test_bands_are_picked_in_their_order_counted_from_1(tmp_path, layout):
    image = pixels(13, "uint16")
    path = write_tiff(tmp_path / "scene.tif", image, tiled=True, **layout)
    np.testing.assert_array_equal(read_image(path, 3, bands=[4, 3, 2]), image[..., [3, 2, 1]])
    np.testing.assert_array_equal(read_image(path, 2, bands=[13, 1], window=WINDOW), image[CUT][..., [12, 0]])
    assert read_size(path, 3, [4, 3, 2]) == SIZE


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_bands_are_picked_of_any_file(tmp_path, suffix):
    image = pixels(4, "uint8")
    Image.fromarray(image).save(tmp_path / f"image.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"image.{suffix}", 2, bands=[4, 1]), image[..., [3, 0]])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 13])
def test_a_band_that_is_not_there_is_named_with_those_that_are(tmp_path, suffix, channels):
    path = tmp_path / f"image.{suffix}"
    if suffix == "tif":
        write_tiff(path, pixels(channels, "uint8"))
    else:
        channels = 3
        Image.fromarray(pixels(3, "uint8")).save(path)
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=rf"(?s)image.{suffix} has {channels} bands.*asks for 14.*from 1 to"):
            read(path, 2, [1, 14])


def test_other_channels_than_stated_are_refused_from_header_and_pixels(tmp_path):
    path = write_tiff(tmp_path / "scene.tif", pixels(13, "uint16"))
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=r"(?s)scene.tif has 13 channels.*data.channels=13"):
            read(path, 3)


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int32", "float64", "complex64"])
def test_other_types_are_named_with_those_that_are_read(tmp_path, dtype, channels):
    path = write_tiff(tmp_path / "dem.tif", np.zeros((*SIZE, channels), dtype))
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=rf"(?s)dem.tif has {dtype} pixels.*uint8, uint16 or float32.*-ot Float32"):
            read(path, channels)


def test_nodata_of_an_image_and_of_a_mask_are_numbers_like_any_other(tmp_path):
    image = pixels(5, "uint16")
    image[:9] = 7
    np.testing.assert_array_equal(read_image(write_tiff(tmp_path / "image.tif", image, nodata=7), 5), image)
    labels = RNG.integers(0, 3, (*SIZE, 1)).astype("uint8")
    np.testing.assert_array_equal(read_label_map(write_tiff(tmp_path / "mask.tif", labels, nodata=0)), labels[..., 0])


@pytest.mark.parametrize("share", [0.001, 0.02, 0.3, 0.5, 0.8, 0.95, 0.999])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
def test_a_truncated_tiff_is_named_not_half_read(tmp_path, layout, share):
    path = write_tiff(tmp_path / "scene.tif", pixels(13, "uint16"), **layout)
    check_length(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ImageError, match=r"scene\.tif"):
        read_image(path, 13)
    if share >= 0.02:
        with pytest.raises(ImageError, match=r"(?s)scene\.tif.*damaged or cut short"):
            check_length(path)


def test_a_window_of_a_truncated_tiff_is_named_where_it_is_missing(tmp_path):
    path = write_tiff(tmp_path / "scene.tif", pixels(3, "uint8"), tiled=True, interleave="pixel")
    path.write_bytes(path.read_bytes()[:-900])
    assert read_image(path, 3, window=Window(0, 0, 16, 16)).shape == (16, 16, 3)
    with pytest.raises(ImageError, match=r"(?s)scene.tif cannot be decoded.*damaged or cut short"):
        read_image(path, 3, window=Window(30, 40, 10, 16))


def test_more_pixels_than_pillow_allows_are_read(tmp_path, monkeypatch):
    image, labels = pixels(3, "uint8"), RNG.integers(0, 9, (*SIZE, 1)).astype("uint16")
    write_tiff(tmp_path / "image.tif", image)
    write_tiff(tmp_path / "mask.tif", labels)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif", 3), image)
    assert read_size(tmp_path / "image.tif", 3) == read_size(tmp_path / "mask.tif") == SIZE
    np.testing.assert_array_equal(read_label_map(tmp_path / "mask.tif"), labels[..., 0])


def test_big_tiff_and_both_byte_orders_are_read(tmp_path):
    image = pixels(6, "uint16")
    for options in ({"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}):
        path = write_tiff(tmp_path / "image.tif", image, **options)
        check_length(path)
        np.testing.assert_array_equal(read_image(path, 6), image)
    path = write_tiff(tmp_path / "image.tif", image, BIGTIFF="YES", ENDIANNESS="BIG")
    with pytest.raises(ImageError, match=r"(?s)image.tif is a big TIFF in big-endian order.*gdal_translate"):
        read_image(path, 6)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_windows_of_turned_images_are_cut_from_the_upright_one(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(pixels(3, "uint8", (64, 64))).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path, 3, window=WINDOW), read_image(path, 3)[CUT])


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LAB"])
def test_windows_of_other_colours_are_cut_from_what_they_show(tmp_path, mode):
    Image.fromarray(pixels(3, "uint8", (64, 64))).convert("RGB" if mode == "LAB" else mode).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.tif", 3, window=WINDOW), read_image(tmp_path / "a.tif", 3)[CUT]
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
def test_masks_of_every_layout_are_label_maps_whole_and_by_windows(tmp_path, dtype, layout):
    labels = RNG.integers(0, 100 if dtype == "uint8" else 3000, (*SIZE, 1)).astype(dtype)
    path = write_tiff(tmp_path / "mask.tif", labels, crs=UTM32, **layout)
    np.testing.assert_array_equal(read_label_map(path), labels[..., 0])
    np.testing.assert_array_equal(read_label_map(path, WINDOW), labels[CUT][..., 0])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [1, 8])
def test_windows_of_palette_and_one_bit_masks_are_their_indices(tmp_path, suffix, bits):
    labels = RNG.integers(0, 2, SIZE, dtype=np.uint8)
    mask = Image.fromarray(labels.astype(bool) if bits == 1 else labels)
    if bits == 8:
        mask.putpalette([9, 8, 7, 200, 0, 100])
    mask.save(tmp_path / f"mask.{suffix}")
    np.testing.assert_array_equal(read_label_map(tmp_path / f"mask.{suffix}", WINDOW), labels[CUT])


def test_windows_of_colour_masks_name_places_in_the_file(tmp_path):
    mask = np.zeros((*SIZE, 3), np.uint8)
    mask[20, 15] = 9
    path = write_tiff(tmp_path / "mask.tif", mask, photometric="RGB")
    black = ColourMasks((((0, 0, 0), 4),))
    assert (black(path, Window(0, 0, 20, 20)) == 4).all()
    for window in (None, WINDOW):
        with pytest.raises(DatasetError, match=r"mask.tif has the colour 9 9 9 at \(x=15, y=20\)"):
            black(path, window)


@pytest.mark.parametrize("window", [None, WINDOW])
def test_what_is_no_label_map_is_named(tmp_path, window):
    for name, image, options, message in (
        ("bands", pixels(2, "uint8"), {}, r"bands.tif has 2 bands; a map of class numbers has one"),
        ("colours", pixels(3, "uint8"), {}, r"(?s)colours.tif has 3 bands.*colour_masks=true"),
        ("float", pixels(1, "float32"), {}, r"float.tif has float32 pixels, not class numbers"),
        ("complex", pixels(1, "float32").astype("complex64"), {}, r"complex.tif has complex64 pixels, not class"),
        ("lossy", pixels(1, "uint8"), {"compress": "jpeg"}, r"lossy.tif is a JPEG"),
    ):
        with pytest.raises(DatasetError, match=message):
            read_label_map(write_tiff(tmp_path / f"{name}.tif", image, **options), window)


def test_a_window_beyond_the_image_is_a_mistake_of_the_caller(tmp_path):
    path = write_tiff(tmp_path / "image.tif", pixels(3, "uint8"))
    with pytest.raises(ValueError, match="is not in"):
        read_raster(path, window=Window(0, 0, 41, 10))


def test_without_rasterio_simple_tiff_is_read_and_the_rest_says_what_to_install(tmp_path, monkeypatch):
    simple = pixels(3, "uint8")
    write_tiff(tmp_path / "simple.tif", simple)
    write_tiff(tmp_path / "deep.tif", pixels(4, "uint16"), photometric="RGB")
    write_tiff(tmp_path / "bands.tif", pixels(13, "uint16"))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    np.testing.assert_array_equal(read_image(tmp_path / "simple.tif", 3), simple)
    assert read_image(tmp_path / "deep.tif", 4).dtype == np.uint16
    assert read_size(tmp_path / "bands.tif", 13) == SIZE
    for read in (
        lambda: read_image(tmp_path / "bands.tif", 13),
        lambda: read_image(tmp_path / "simple.tif", 3, window=WINDOW),
        lambda: encode_label_map(simple[..., 0], TAGS),
    ):
        with pytest.raises(ImageError, match=r'(?s)nly rasterio.*pip install "coatseg\[geo\]"'):
            read()


def test_rasterio_loads_only_where_it_is_needed():
    for path in Path(coatseg.__file__).parent.rglob("*.py"):
        assert not re.search(r"^(import|from) rasterio", path.read_text(), re.MULTILINE), path


@pytest.mark.parametrize(("top", "dtype"), [(255, "uint8"), (300, "uint16")])
def test_label_maps_keep_the_place_of_their_image(tmp_path, top, dtype):
    source = write_tiff(
        tmp_path / "scene.tif", pixels(13, "uint16"), crs=UTM32, transform=rasterio.Affine(*TAGS.transform)
    )
    labels = RNG.integers(0, top, SIZE).astype(dtype)
    labels[0, 0] = top
    (tmp_path / "map.tif").write_bytes(encode_label_map(labels, read_tags(source), [(0, 1, 2), (250, 20, 30)]))
    assert read_tags(tmp_path / "map.tif") == read_tags(source)
    assert (read_tags(source).crs, read_tags(source).transform) == (TAGS.crs, TAGS.transform)
    read = read_label_map(tmp_path / "map.tif")
    np.testing.assert_array_equal(read, labels)
    assert read.dtype == dtype
    with rasterio.open(tmp_path / "map.tif") as raster:
        if dtype == "uint8":
            assert raster.colormap(1)[1] == (250, 20, 30, 255)
        else:
            with pytest.raises(ValueError, match="NULL color table"):
                raster.colormap(1)


def test_files_without_a_place_have_no_tags(tmp_path):
    Image.fromarray(pixels(3, "uint8")).save(tmp_path / "photo.png")
    assert read_tags(tmp_path / "photo.png") is None
    assert read_tags(write_tiff(tmp_path / "scan.tif", pixels(3, "uint8"))) is None
    place = {"crs": UTM32, "transform": rasterio.Affine(*TAGS.transform)}
    point = write_tiff(tmp_path / "point.tif", pixels(3, "uint8"), **place)
    with rasterio.open(point, "r+") as raster:
        raster.update_tags(AREA_OR_POINT="Point")
    (tmp_path / "map.tif").write_bytes(encode_label_map(np.zeros(SIZE, np.uint8), read_tags(point)))
    assert read_tags(tmp_path / "map.tif") == read_tags(point)
    placed = write_tiff(tmp_path / "local.tif", pixels(3, "uint8"), transform=rasterio.Affine(*TAGS.transform))
    assert (read_tags(placed).crs, read_tags(placed).transform) == ("", TAGS.transform)


def test_ground_control_points_polynomials_and_other_tags_are_kept(tmp_path):
    corners = [(0, 0, 10.0, 50.0, 3.0), (0, 20, 10.2, 50.0, 4.0), (20, 0, 10.0, 49.8, 5.0)]
    gcps = [GroundControlPoint(*corner) for corner in corners]
    coefficients = [1.0, *[0.0] * 19]
    rpcs = RPC(
        height_off=100.0,
        height_scale=50.0,
        lat_off=49.9,
        lat_scale=0.1,
        line_den_coeff=coefficients,
        line_num_coeff=coefficients,
        line_off=10.0,
        line_scale=10.0,
        long_off=10.1,
        long_scale=0.1,
        samp_den_coeff=coefficients,
        samp_num_coeff=coefficients,
        samp_off=10.0,
        samp_scale=10.0,
    )
    sources = [
        write_tiff(tmp_path / "points.tif", pixels(3, "uint8"), gcps=gcps, crs="EPSG:4326"),
        write_tiff(tmp_path / "polynomials.tif", pixels(3, "uint8"), rpcs=rpcs),
    ]
    for source in sources:
        with rasterio.open(source, "r+") as raster:
            raster.update_tags(ACQUIRED="2020")
        tags = read_tags(source)
        (tmp_path / "map.tif").write_bytes(encode_label_map(np.zeros(SIZE, np.uint8), tags))
        with rasterio.open(source) as before, rasterio.open(tmp_path / "map.tif") as after:
            assert after.tags()["ACQUIRED"] == before.tags()["ACQUIRED"] == "2020"
            assert after.rpcs == before.rpcs
            assert after.gcps[1] == before.gcps[1]
        assert read_tags(tmp_path / "map.tif") == tags
    assert read_tags(sources[0]).points == tuple(corners)
    assert "LINE_NUM_COEFF" in read_tags(sources[1]).texts["RPC"]


def test_colours_of_a_jpeg_inside_tiff_are_the_same_whole_and_by_windows(tmp_path):
    path = write_tiff(tmp_path / "a.tif", pixels(3, "uint8"), tiled=True, compress="jpeg", photometric="YCBCR")
    np.testing.assert_array_equal(read_image(path, 3, window=WINDOW), read_image(path, 3)[CUT])


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("layout", [{}, {"tiled": True}])
def test_class_numbers_of_few_bits_are_as_stored(tmp_path, bits, layout):
    mask = pixels(1, "uint8") % 2**bits
    path = write_tiff(tmp_path / "a.tif", mask, nbits=bits, **layout)
    np.testing.assert_array_equal(read_label_map(path), mask[..., 0])
    np.testing.assert_array_equal(read_label_map(path, WINDOW), mask[CUT][..., 0])


def test_opencv_does_not_warn_of_the_tags_of_gdal(tmp_path, capfd):
    path = write_tiff(tmp_path / "a.tif", pixels(1, "uint16"), nodata=0)
    read_image(path, 1)
    assert capfd.readouterr().err == ""
