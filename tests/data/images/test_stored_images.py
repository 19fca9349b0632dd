"""Arrays of numpy and JPEG 2000 are images as others are, whole and by windows."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_image, read_label_map, read_mask_size, read_size
from coatseg.data.images.statements.geotags import read_tags
from coatseg.errors import DatasetError, ImageError
from coatseg.results.predict.opened_image import has_windows

RNG = np.random.default_rng(0)
SIZE = (40, 56)
WINDOW = Window(13, 9, 20, 30)
CUT = (slice(13, 33), slice(9, 39))


def write_jp2(path: Path, image: np.ndarray, **options: object) -> Path:
    height, width, count = image.shape
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", height=height, width=width, count=count, dtype=image.dtype,
        QUALITY=100, REVERSIBLE="YES", **options,
    ) as raster:  # fmt: skip
        raster.write(image.transpose(2, 0, 1))
    return path


def pixels(channels: int, dtype: str) -> np.ndarray:
    top = 1 if dtype == "float32" else np.iinfo(dtype).max
    return (RNG.random((*SIZE, channels)) * top).astype(dtype)


def check(path: Path, image: np.ndarray) -> None:
    channels = image.shape[2]
    assert read_size(path, channels) == SIZE
    assert has_windows(path, channels)
    for window, expected in ((None, image), (WINDOW, image[CUT])):
        read = read_image(path, channels, window=window)
        assert read.dtype == image.dtype.newbyteorder("=")
        assert read.flags.c_contiguous
        assert read.flags.writeable
        np.testing.assert_array_equal(read, expected)
    np.testing.assert_array_equal(read_image(path, 1, bands=[channels], window=WINDOW), image[CUT][..., -1:])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_an_array_of_numpy_is_an_image(tmp_path: Path, channels: int, dtype: str) -> None:
    image = pixels(channels, np.dtype(dtype).name).astype(dtype)
    np.save(tmp_path / "a.npy", image)
    check(tmp_path / "a.npy", image)
    np.save(tmp_path / "a.npy", np.asfortranarray(image))
    check(tmp_path / "a.npy", image)


def test_a_grey_array_is_repeated_and_nothing_is_taken_for_alpha(tmp_path: Path) -> None:
    image = pixels(4, "uint8")
    np.save(tmp_path / "grey.npy", image[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / "grey.npy", 3), image[..., [0, 0, 0]])
    np.save(tmp_path / "four.npy", image)
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=r"(?s)four.npy has 4 channels and does not say.*data.channels=4"):
            read(tmp_path / "four.npy", 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 40, 56), np.uint8), r"(?s)has the shape \(3, 40, 56\), and channels come last.*moveaxis"),
        (np.zeros((2, 3, 40, 56), np.uint8), r"has the shape \(2, 3, 40, 56\)"),
        (np.zeros(40, np.uint8), r"has the shape \(40,\)"),
        (np.zeros((0, 40), np.uint8), r"has the shape \(0, 40\)"),
        (np.zeros(SIZE), "has float64 pixels"),
        (np.zeros(SIZE, np.int16), "has int16 pixels"),
        (np.array([[None]]), "cannot be decoded"),
    ],
)
def test_an_array_that_is_no_image_is_named(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=rf"(?s)a.npy.*{message}" if "(?s)" not in message else message):
            read(tmp_path / "a.npy", 3)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".npy", ".jp2"])
def test_a_file_that_is_cut_short_is_named(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, pixels(3, "uint8"))
    else:
        write_jp2(path, pixels(3, "uint8"))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ImageError, match=rf"(?s)a{suffix} cannot be.*damaged"):
        read_image(path, 3)


@pytest.mark.parametrize("read", [read_image, read_size, read_label_map, read_mask_size])
@pytest.mark.parametrize("suffix", [".npy", ".jp2"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, read: object, suffix: str) -> None:
    with pytest.raises((ImageError, DatasetError), match=f"gone{suffix}"):
        read(tmp_path / f"gone{suffix}")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "bool", "float32"])
def test_an_array_of_whole_numbers_is_a_mask(tmp_path: Path, dtype: str) -> None:
    labels = RNG.integers(0, 2, SIZE).astype(dtype)
    np.save(tmp_path / "a.npy", labels)
    assert read_mask_size(tmp_path / "a.npy") == SIZE
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.npy"), labels)
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.npy", WINDOW), labels[CUT])
    assert read_label_map(tmp_path / "a.npy").dtype.kind in "iu"


def test_an_array_of_colours_is_no_mask(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pixels(3, "uint8"))
    with pytest.raises(DatasetError, match=r"a.npy is an array of shape \(40, 56, 3\) and type uint8"):
        read_label_map(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_jpeg_2000_is_an_image(tmp_path: Path, channels: int, dtype: str) -> None:
    image = pixels(channels, dtype)
    check(write_jp2(tmp_path / "a.jp2", image, BLOCKXSIZE=32, BLOCKYSIZE=32), image)


def test_the_depth_and_alpha_that_jpeg_2000_states(tmp_path: Path) -> None:
    """Sentinel-2 has 15 bits."""
    stored = RNG.integers(0, 2**15, (*SIZE, 1)).astype(np.uint16)
    read = read_image(write_jp2(tmp_path / "deep.jp2", stored, NBITS=15), 1)
    np.testing.assert_allclose(read / 65535, stored / 32767, atol=0.5 / 65535)
    image = pixels(4, "uint8")
    np.testing.assert_array_equal(read_image(write_jp2(tmp_path / "a.jp2", image, ALPHA="YES"), 3), image[..., :3])


def test_the_place_of_jpeg_2000_on_earth_is_read(tmp_path: Path) -> None:
    transform = rasterio.Affine(10.0, 0.0, 500000.0, 0.0, -10.0, 5.0e6)
    path = write_jp2(tmp_path / "a.jp2", pixels(1, "uint8"), crs="EPSG:32632", transform=transform)
    assert read_tags(path).transform == tuple(transform)[:6]


def test_a_mask_in_jpeg_2000_is_refused(tmp_path: Path) -> None:
    path = write_jp2(tmp_path / "mask.jp2", pixels(1, "uint8"))
    with pytest.raises(DatasetError, match=r"mask.jp2 is a JPEG 2000 file, whose compression changes class numbers"):
        read_label_map(path)
