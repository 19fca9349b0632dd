"""What a TIFF states of its pixels is heeded: blocks left out, depth, white as zero, alpha, compression."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from PIL import Image

from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_image, read_label_map, read_size
from coatseg.data.images.tiff.header import check_length, is_sparse, read_header
from coatseg.errors import ImageError
from coatseg.results.predict.opened_image import has_windows, open_given
from tests.data.rasters import write_pages, write_tiff

RNG = np.random.default_rng(0)
SIZE = (48, 64)
WINDOW = Window(10, 12, 20, 30)
CUT = (slice(10, 30), slice(12, 42))
MAX_SAMPLE_VALUE, EXTRA_SAMPLES, PHOTOMETRIC = 281, 338, 262


def write_sparse(path: Path, values: np.ndarray, nodata: int | None, **options: object) -> Path:
    """Write only the first tile of a file of the shape and type of `values`."""
    height, width, count = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype=values.dtype, nodata=nodata,
        tiled=True, blockxsize=16, blockysize=16, SPARSE_OK=True, **options,
    ) as raster:  # fmt: skip
        raster.write(values[:16, :16].transpose(2, 0, 1), window=((0, 16), (0, 16)))
    return path


@pytest.mark.parametrize("nodata", [None, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_blocks_that_a_sparse_file_leaves_out_are_nodata_or_zero(
    tmp_path: Path, compress: str, dtype: str, nodata: int | None
) -> None:
    image = RNG.integers(1, 250, (*SIZE, 3)).astype(dtype)
    path = write_sparse(tmp_path / "a.tif", image, nodata, compress=compress, photometric="RGB")
    expected = np.full_like(image, nodata or 0)
    expected[:16, :16] = image[:16, :16]
    assert is_sparse(path, read_header(path))
    check_length(path)
    np.testing.assert_array_equal(read_image(path, 3), expected)
    np.testing.assert_array_equal(read_image(path, 3, window=WINDOW), expected[CUT])


def test_blocks_that_a_sparse_mask_leaves_out_are_nodata_or_zero(tmp_path: Path) -> None:
    labels = RNG.integers(1, 5, (*SIZE, 1), dtype=np.uint8)
    expected = np.zeros(SIZE, np.uint8)
    expected[:16, :16] = labels[:16, :16, 0]
    for window, cut in ((None, ...), (WINDOW, CUT)):
        path = write_sparse(tmp_path / "zero.tif", labels, None)
        np.testing.assert_array_equal(read_label_map(path, window), expected[cut])
        path = write_sparse(tmp_path / "nodata.tif", labels, 9)
        ignored = np.where(expected == 0, 255, expected)
        np.testing.assert_array_equal(read_label_map(path, window, ignore_index=255, classes=5), ignored[cut])


def test_a_strip_without_a_place_is_no_pixels_of_the_header(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "a.tif", [np.full(SIZE, 9, np.uint8)], {273: 0, 279: 0})
    assert not read_image(path, 1).any()
    assert not read_label_map(path).any()
    check_length(path)


def test_pixels_at_the_place_of_the_header_are_damage(tmp_path: Path) -> None:
    strips = {273: (8, 0, 8 + 2 * 1024), 279: (1024, 1024, 1024), 278: 16}
    path = write_pages(tmp_path / "a.tif", [np.full(SIZE, 9, np.uint8)], strips)
    for read in (read_image, read_size, read_label_map, check_length):
        with pytest.raises(ImageError, match=r"(?s)a.tif states that pixels begin at byte 0.*damaged"):
            read(path)
    path = write_pages(tmp_path / "a.tif", [np.full(SIZE, 9, np.uint8)], strips | {279: (1024, 0, 1024)})
    assert read_image(path, 1)[::16, 0, 0].tolist() == [9, 0, 9]


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_a_depth_stated_in_16_bits_is_scaled_to_the_whole_range(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    stored = RNG.integers(0, top + 1, SIZE).astype(np.uint16)
    stored[0, :2] = 0, top
    path = write_pages(tmp_path / "a.tif", [stored], {MAX_SAMPLE_VALUE: top})
    image = read_image(path, 1)[..., 0]
    assert image[0, :2].tolist() == [0, 65535]
    np.testing.assert_allclose(image / 65535, stored / top, atol=0.5 / 65535)
    np.testing.assert_array_equal(read_image(path, 1, window=WINDOW)[..., 0], image[CUT])
    np.testing.assert_array_equal(read_label_map(path), stored)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [10, 12])
def test_packed_depths_are_scaled_to_the_whole_range(tmp_path: Path, bits: int, channels: int) -> None:
    top = 2**bits - 1
    stored = RNG.integers(0, top + 1, (*SIZE, channels)).astype(np.uint16)
    path = write_tiff(tmp_path / "a.tif", stored, nbits=bits, tiled=True, interleave="pixel")
    for read, cut in ((read_image(path, channels), ...), (read_image(path, channels, window=WINDOW), CUT)):
        assert read.dtype == np.uint16
        np.testing.assert_allclose(read / 65535, stored[cut] / top, atol=0.5 / 65535)
    np.testing.assert_array_equal(read_label_map(path) if channels == 1 else stored[..., 0], stored[..., 0])


def test_four_bits_are_scaled_alike_by_either_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = RNG.integers(0, 16, (*SIZE, 1), dtype=np.uint8)
    path = write_tiff(tmp_path / "a.tif", stored, nbits=4)
    np.testing.assert_array_equal(read_image(path, 1), stored * 17)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # larger images are left to rasterio
    np.testing.assert_array_equal(read_image(path, 1), stored * 17)


@pytest.mark.parametrize("stated", [3217, 65535, 0])
def test_a_greatest_value_that_is_no_depth_is_no_scale(tmp_path: Path, stated: int) -> None:
    stored = RNG.integers(0, 3000, SIZE).astype(np.uint16)
    path = write_pages(tmp_path / "a.tif", [stored], {MAX_SAMPLE_VALUE: stated})
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], stored)


def test_a_pixel_above_the_stated_depth_is_named(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "a.tif", [np.full(SIZE, 5000, np.uint16)], {MAX_SAMPLE_VALUE: 4095})
    with pytest.raises(ImageError, match=r"(?s)a.tif has a pixel of 5000, and states that 4095.*MaxSampleValue"):
        read_image(path, 1)


@pytest.mark.parametrize("options", [{}, {"tiled": True}, {"compress": "zstd"}], ids=["strips", "tiles", "zstd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_as_zero_is_turned_around_at_every_depth_but_not_in_masks(
    tmp_path: Path, dtype: str, options: dict
) -> None:
    stored = RNG.integers(0, 200, (*SIZE, 1)).astype(dtype)
    path = write_tiff(tmp_path / "a.tif", stored, photometric="MINISWHITE", **options)
    image = np.iinfo(dtype).max - stored
    np.testing.assert_array_equal(read_image(path, 1), image)
    np.testing.assert_array_equal(read_image(path, 3, window=WINDOW), image[CUT].repeat(3, axis=2))
    for window, cut in ((None, ...), (WINDOW, CUT)):
        np.testing.assert_array_equal(read_label_map(path, window), stored[..., 0][cut])


@pytest.mark.parametrize("bits", [1, 4, 12])
def test_white_as_zero_of_odd_depths(tmp_path: Path, bits: int) -> None:
    stored = RNG.integers(0, 2**bits, (*SIZE, 1)).astype(np.uint16 if bits > 8 else np.uint8)
    path = write_tiff(tmp_path / "a.tif", stored, photometric="MINISWHITE", nbits=bits)
    whole = 65535 if bits > 8 else 255
    np.testing.assert_allclose(read_image(path, 1), whole - stored * (whole / (2**bits - 1)), atol=0.5)
    np.testing.assert_array_equal(read_label_map(path), stored[..., 0])


def test_white_as_zero_of_floats_or_bands_is_refused(tmp_path: Path) -> None:
    for name, image in (("float", np.zeros((*SIZE, 1), np.float32)), ("bands", np.zeros((*SIZE, 5), np.uint16))):
        path = write_tiff(tmp_path / f"{name}.tif", image, photometric="MINISWHITE")
        for read in (read_image, read_size):
            with pytest.raises(ImageError, match=rf"(?s){name}.tif is white where.*minisblack"):
                read(path, image.shape[2])


def test_two_bands_are_never_one(tmp_path: Path) -> None:
    """Sentinel-1's VV and VH."""
    image = RNG.random((*SIZE, 2)).astype(np.float32)
    path = write_tiff(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read_image(path, 2), image)
    np.testing.assert_array_equal(read_image(path, 1, bands=[2]), image[..., 1:])
    for read in (read_image, read_size):
        for channels in (1, 3):
            with pytest.raises(ImageError, match=r"(?s)a.tif has 2 channels and does not say.*data.channels=2"):
                read(path, channels)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_fourth_band_is_dropped_only_if_it_says_that_it_is_alpha(tmp_path: Path, dtype: str) -> None:
    image = RNG.integers(0, 200, (*SIZE, 4)).astype(dtype)
    alpha = write_tiff(tmp_path / "alpha.tif", image, photometric="RGB", ALPHA="NON-PREMULTIPLIED", tiled=True)
    infrared = write_tiff(tmp_path / "infrared.tif", image, photometric="RGB", ALPHA="UNSPECIFIED", tiled=True)
    for path in (alpha, infrared):
        np.testing.assert_array_equal(read_image(path, 4), image)
        np.testing.assert_array_equal(read_image(path, 3, bands=[1, 2, 3]), image[..., :3])
    np.testing.assert_array_equal(read_image(alpha, 3), image[..., :3])
    np.testing.assert_array_equal(read_image(alpha, 3, window=WINDOW), image[CUT][..., :3])
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=r"(?s)infrared.tif has 4 channels.*channels=4.*data.bands=\[1,2,3\]"):
            read(infrared, 3)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_of_every_format_is_dropped(tmp_path: Path, suffix: str, mode: str) -> None:
    if (mode, suffix) == ("LA", "webp"):
        return
    image = RNG.integers(0, 200, (*SIZE, len(mode)), dtype=np.uint8)
    Image.fromarray(image, mode).save(
        tmp_path / f"a.{suffix}", **({"lossless": True, "exact": True} if suffix == "webp" else {})
    )
    read = read_image(tmp_path / f"a.{suffix}", 3)
    assert read_size(tmp_path / f"a.{suffix}", 3) == SIZE
    np.testing.assert_array_equal(read[..., 0], image[..., 0])


def test_an_array_says_nothing_of_alpha_and_a_picture_does() -> None:
    image = RNG.integers(0, 200, (*SIZE, 4), dtype=np.uint8)
    picture = open_given(Image.fromarray(image, "RGBA"), 0, 3, None, max_pixels=10**9, windows=False)
    np.testing.assert_array_equal(picture.read(), image[..., :3])
    with pytest.raises(ImageError, match="Image 0 has 4 channels and does not say that the last one is alpha"):
        open_given(image, 0, 3, None, max_pixels=10**9, windows=False)


@pytest.mark.parametrize("compress", ["webp", "lerc", "lerc_zstd", "lzma", "zstd"])
@pytest.mark.parametrize("tiled", [False, True])
def test_compressions_of_gdal_are_read_whole_and_by_windows(tmp_path: Path, compress: str, tiled: bool) -> None:
    image = RNG.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    lossless = {"WEBP_LOSSLESS": "YES"} if compress == "webp" else {}
    path = write_tiff(
        tmp_path / "a.tif", image, compress=compress, interleave="pixel", tiled=tiled, photometric="RGB", **lossless
    )
    np.testing.assert_array_equal(read_image(path, 3), image)
    np.testing.assert_array_equal(read_image(path, 3, window=WINDOW), image[CUT])
    assert read_size(path, 3) == SIZE
    assert has_windows(path, 3)
    labels = write_tiff(tmp_path / "mask.tif", image[..., :1], compress="lerc" if compress == "webp" else compress)
    np.testing.assert_array_equal(read_label_map(labels), image[..., 0])


@pytest.mark.parametrize(("number", "codec"), [(34712, "JPEG 2000"), (50002, "JPEG XL"), (65000, "codec 65000")])
def test_a_compression_that_gdal_lacks_is_named(tmp_path: Path, number: int, codec: str) -> None:
    path = write_pages(tmp_path / "a.tif", [np.zeros(SIZE, np.uint8)], {259: number})
    for read in (read_image, read_label_map, has_windows):
        with pytest.raises(ImageError, match=rf"(?s)a.tif is compressed by {codec}, which this build.*deflate"):
            read(path)


@pytest.mark.parametrize(("photometric", "name"), [(3, "a palette"), (5, "CMYK"), (8, "L")])
def test_colours_that_only_pillow_converts_are_not_read_as_numbers(
    tmp_path: Path, photometric: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = {3: 1, 5: 4, 8: 3}[photometric]
    image = np.zeros((*SIZE, channels), np.uint8)
    palette = {320: (0,) * 768} if photometric == 3 else {}
    path = write_pages(tmp_path / "a.tif", [image], {PHOTOMETRIC: photometric, **palette})
    assert read_image(path, 3).shape == (*SIZE, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # larger images are left to rasterio
    with pytest.raises(ImageError, match=rf"a.tif is a TIFF of {name}"):
        read_image(path, 3)


def test_colours_of_opencv_and_of_extra_samples(tmp_path: Path) -> None:
    image = RNG.integers(0, 200, (*SIZE, 4), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "cv.tif"), image[..., [2, 1, 0, 3]])
    np.testing.assert_array_equal(read_image(tmp_path / "cv.tif", 4), image)
    for extra, alpha in (((0,), False), ((1,), True), ((2,), True), ((0, 2), True), ((2, 0), False)):
        path = write_pages(tmp_path / "a.tif", [image], {EXTRA_SAMPLES: extra if len(extra) > 1 else extra[0]})
        assert read_header(path).alpha == alpha
