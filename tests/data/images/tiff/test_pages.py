"""Pages of a TIFF are channels where that is stated; where it is not, the file is refused and its pages are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_image, read_label_map, read_size
from coatseg.data.images.tiff.header import check_length, read_header
from coatseg.errors import DatasetError, ImageError
from coatseg.results.predict.opened_image import has_windows
from tests.data.rasters import DESCRIPTION, write_pages, write_tiff

RNG = np.random.default_rng(0)
SIZE = (20, 30)
WINDOW = Window(3, 5, 8, 9)
CUT = (slice(3, 11), slice(5, 14))

OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image '
    'ID="Image:0" Name="µ"><Pixels DimensionOrder="XYCZT" SizeX="30" SizeY="20" SizeC="{c}" SizeZ="{z}" SizeT="{t}" '
    'Type="uint16">{blocks}</Pixels></Image></OME>'
)


def ome(c: int = 1, z: int = 1, t: int = 1, blocks: str = "<TiffData/>") -> bytes:
    return OME.format(c=c, z=z, t=t, blocks=blocks).encode()


def stack(count: int, dtype: str = "uint16") -> list[np.ndarray]:
    return [RNG.integers(0, 200, SIZE).astype(dtype) for _ in range(count)]


def imagej(**counts: int) -> bytes:
    return "\n".join(["ImageJ=1.54f", *(f"{key}={count}" for key, count in counts.items()), "loop=false"]).encode()


@pytest.mark.parametrize(
    "description",
    [
        ome(c=5),
        ome(c=5, blocks='<TiffData IFD="0" PlaneCount="5"/>'),
        imagej(images=5, channels=5, hyperstack="true"),
        b'{"shape": [5, 20, 30], "axes": "CYX"}',
    ],
    ids=["ome", "ome-planes", "imagej", "tifffile"],
)
def test_pages_that_say_that_they_are_channels_are(tmp_path: Path, description: bytes) -> None:
    pages = stack(5)
    path = write_pages(tmp_path / "a.ome.tif", pages, {DESCRIPTION: description})
    image = np.dstack(pages)
    assert read_size(path, 5) == SIZE
    np.testing.assert_array_equal(read_image(path, 5), image)
    np.testing.assert_array_equal(read_image(path, 5, window=WINDOW), image[CUT])
    np.testing.assert_array_equal(read_image(path, 2, bands=[4, 1]), image[..., [3, 0]])
    assert has_windows(path, 5)
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=r"(?s)a.ome.tif has 5 channels.*data.channels=5"):
            read(path, 3)
        with pytest.raises(ImageError, match=r"(?s)has 5 bands, and data.bands asks for 6"):
            read(path, 1, [6])


def test_channels_may_be_stored_in_an_order_of_their_own(tmp_path: Path) -> None:
    pages = stack(3)
    blocks = "".join(f'<TiffData FirstC="{c}" IFD="{page}" PlaneCount="1"/>' for c, page in ((0, 2), (1, 0), (2, 1)))
    path = write_pages(tmp_path / "a.tif", pages, {DESCRIPTION: ome(c=3, blocks=blocks)})
    np.testing.assert_array_equal(read_image(path, 3), np.dstack([pages[2], pages[0], pages[1]]))


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (ome(z=6), "6 slices"),
        (ome(c=2, t=3), "2 channels x 3 time points"),
        (imagej(images=6, slices=6), "6 slices"),
        (imagej(images=6, channels=2, slices=3), "2 channels x 3 slices"),
        (imagej(images=6, frames=6), "6 time points"),
        (b'{"shape": [6, 20, 30], "axes": "ZYX"}', "6 slices"),
        (ome(c=3).replace(b"</OME>", b'<Image ID="Image:1"/></OME>'), "2 images"),
        (ome(z=5), "5 slices"),
    ],
)
def test_pages_that_are_something_else_are_refused_with_what_they_are(
    tmp_path: Path, description: bytes, words: str
) -> None:
    path = write_pages(tmp_path / "a.tif", stack(6), {DESCRIPTION: description})
    for read in (read_image, read_size):
        for channels in (1, 3, 6):
            with pytest.raises(ImageError, match=rf"a.tif has 6 pages, and states {words}\."):
                read(path, channels)


def test_pages_that_say_nothing_are_channels_where_there_are_as_many(tmp_path: Path) -> None:
    pages = stack(4, "uint8")
    path = write_pages(tmp_path / "a.tif", pages)
    np.testing.assert_array_equal(read_image(path, 4), np.dstack(pages))
    np.testing.assert_array_equal(read_image(path, 4, window=WINDOW), np.dstack(pages)[CUT])
    np.testing.assert_array_equal(read_image(path, 3, bands=[4, 2, 1]), np.dstack(pages)[..., [3, 1, 0]])
    assert read_size(path, 4) == SIZE
    for read in (read_image, read_size, has_windows):
        for channels in (1, 3, None):
            with pytest.raises(ImageError, match=r"(?s)a.tif has 4 pages.*data.channels=4.*a file of its own"):
                read(path, channels)


def test_pages_by_other_writers_are_counted_alike(tmp_path: Path) -> None:
    first, *others = [Image.fromarray(page) for page in stack(3, "uint8")]
    first.save(tmp_path / "a.tif", save_all=True, append_images=others, compression="tiff_lzw")
    with pytest.raises(ImageError, match=r"a.tif has 3 pages, and does not say"):
        read_image(tmp_path / "a.tif", 1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 3)[..., 2], np.asarray(others[1]))


def test_pages_of_several_channels_or_sizes_are_refused(tmp_path: Path) -> None:
    colour = np.zeros((*SIZE, 3), np.uint8)
    with pytest.raises(ImageError, match=r"colour.tif has 2 pages of 3 channels each"):
        read_image(write_pages(tmp_path / "colour.tif", [colour, colour]), 3)
    with pytest.raises(ImageError, match=r"sizes.tif has 2 pages of different sizes"):
        read_image(write_pages(tmp_path / "sizes.tif", [np.zeros((20, 30), np.uint8), np.zeros((25, 20), np.uint8)]), 2)


def test_one_directory_for_many_planes_is_refused(tmp_path: Path) -> None:
    plane, rest = RNG.integers(0, 200, SIZE, dtype=np.uint16), RNG.integers(0, 200, (7, *SIZE), dtype=np.uint16)
    path = write_pages(tmp_path / "a.tif", [plane], {DESCRIPTION: imagej(images=8, slices=8)})
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], plane)  # a description left from another file
    path.write_bytes(path.read_bytes() + rest.tobytes())
    for read in (read_image, read_size, read_label_map):
        with pytest.raises(ImageError, match=r"a.tif states 8 slices, and lists 1"):
            read(path)
    write_pages(path, [plane], {DESCRIPTION: b'{"shape": [8, 20, 30], "truncated": true}'})
    path.write_bytes(path.read_bytes() + rest.tobytes())
    with pytest.raises(ImageError, match=r"a.tif states 8 pages, and lists 1"):
        read_image(path, 1)


def test_a_description_of_other_files_leaves_the_one_page(tmp_path: Path) -> None:
    (page,) = stack(1)
    for description in (ome(z=40), b"<OME><BinaryOnly MetadataFile='a.companion.ome'/></OME>", b"<not xml", b"{"):
        path = write_pages(tmp_path / "a.tif", [page], {DESCRIPTION: description})
        np.testing.assert_array_equal(read_image(path, 1)[..., 0], page)


@pytest.mark.parametrize(
    ("size", "tags"),
    [((20, 30), {254: 4}), ((15, 10), {254: 1}), ((10, 15), {}), ((10, 15), {254: 1}), ((11, 15), {255: 2})],
    ids=["mask", "preview", "thumbnail", "overview", "old-overview"],
)
def test_masks_overviews_and_thumbnails_are_no_pages(tmp_path: Path, size: tuple[int, int], tags: dict) -> None:
    (page,) = stack(1, "uint8")
    path = write_pages(tmp_path / "a.tif", [page, np.ones(size, np.uint8)], [{}, tags])
    assert read_header(path).pages == (1,)
    np.testing.assert_array_equal(read_image(path, 1)[..., 0], page)
    np.testing.assert_array_equal(read_label_map(path), page)


def test_a_pyramid_by_gdal_is_its_full_size(tmp_path: Path) -> None:
    import rasterio

    image = RNG.integers(0, 255, (64, 96, 3), dtype=np.uint8)
    path = write_tiff(tmp_path / "a.tif", image, tiled=True, photometric="RGB")
    with rasterio.open(path, "r+") as raster:
        raster.build_overviews([2, 4])
    np.testing.assert_array_equal(read_image(path, 3), image)


def test_the_last_page_may_be_cut_off_too(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "a.tif", stack(3), [{}, {}, {273: 10**6}])
    with pytest.raises(ImageError, match=r"a.tif has \d+ bytes, and its pixels end at byte"):
        check_length(path)


def test_a_mask_of_several_pages_is_refused_and_layers_are_offered(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "mask.tif", stack(3, "uint8"))
    for window in (None, WINDOW):
        with pytest.raises(DatasetError, match=r"(?s)mask.tif has 3 pages; a map.*data.layers=true"):
            read_label_map(path, window)
