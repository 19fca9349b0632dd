import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image

from coatseg.data.datasets.folder import Folder
from coatseg.data.trees.splits import Splits
from coatseg.errors import DatasetError, ImageError
from tests.contracts.dataset import DatasetContract
from tests.data.rasters import write_tiff
from tests.data.slides import SIZES, label_of, level_pixels, write_pyramid, write_svs

ALL = Splits(val_fraction=1e-6)
WINDOWS = {"window": [32, 40], "windows_per_image": 4, "splits": ALL}


def write_slides(root, level=None, *, suffix=".png"):
    """Write two slides, and masks of the size of a level, or with all levels as pyramids."""
    (root / "masks").mkdir(parents=True)
    (root / "classes.txt").write_text("dark\nbright\n")
    write_svs(root / "images" / "a.svs", compression="deflate")
    write_pyramid(root / "images" / "b.tif")
    for name in "ab":
        path = root / "masks" / f"{name}{suffix}"
        if level is None:
            write_mask_pyramid(path.with_suffix(".tif"))
        elif suffix == ".png":
            Image.fromarray(label_of(level)).save(path)
        else:
            write_tiff(path, label_of(level)[..., None], tiled=True, compress="deflate")
    return root


def write_mask_pyramid(path, **options):
    tiled = {"tile": (64, 64), "photometric": "minisblack", "metadata": None, "compression": "deflate", **options}
    with tifffile.TiffWriter(path) as file:
        for level in range(len(SIZES)):
            file.write(label_of(level), subfiletype=1 if level else 0, **tiled)


class TestSlides(DatasetContract):
    def make(self, root):
        return Folder(write_slides(root, 1, suffix=".tif"), "train", level=1, **WINDOWS)


class TestMasksAsPyramids(DatasetContract):
    def make(self, root):
        return Folder(write_slides(root), "train", level=1, **WINDOWS)


@pytest.mark.parametrize(("level", "masks"), [(0, 0), (1, 1), (1, None), (None, None)])
def test_windows_of_a_slide_and_its_mask_are_of_one_place(tmp_path, level, masks):
    dataset = Folder(write_slides(tmp_path, masks), "train", level=level, **WINDOWS)
    for index in range(len(dataset)):
        sample = dataset.drawn(index, seed=index)
        y, x = map(int, sample.id.split("@")[1].split(","))
        place = slice(y, y + 32), slice(x, x + 40)
        np.testing.assert_array_equal(sample.image, level_pixels(level or 0)[place])
        np.testing.assert_array_equal(sample.label_map, label_of(level or 0)[place])
        assert dataset.size(index) == (32, 40)


def test_a_split_of_slides_is_read_whole_without_windows(tmp_path):
    dataset = Folder(write_slides(tmp_path), "train", level=2, splits=ALL)
    for sample in dataset:
        np.testing.assert_array_equal(sample.image, level_pixels(2))
        np.testing.assert_array_equal(sample.label_map, label_of(2))


def test_a_mask_of_another_level_is_refused(tmp_path):
    dataset = Folder(write_slides(tmp_path, 0), "train", level=1, **WINDOWS)
    with pytest.raises(DatasetError, match=r"The mask .*a.png is 301x405, its image .*a.svs 75x101"):
        dataset.verify(0)


def test_a_slide_without_the_level_is_named(tmp_path):
    dataset = Folder(write_slides(tmp_path), "train", level=5, **WINDOWS)
    with pytest.raises(ImageError, match=r"a.svs has no level 5, but 0: 301x405"):
        dataset.verify(0)


def test_a_mask_pyramid_of_lossy_numbers_is_refused(tmp_path):
    write_slides(tmp_path)
    write_mask_pyramid(tmp_path / "masks" / "a.tif", compression="jpeg")
    with pytest.raises(DatasetError, match=r"a.tif has levels of no class numbers: uint8 .* compressed by JPEG"):
        Folder(tmp_path, "train", level=1, **WINDOWS).verify(0)


@pytest.mark.parametrize("pyramid", [True, False])
def test_nodata_of_a_mask_is_ignored_at_every_level(tmp_path, pyramid):
    write_slides(tmp_path, 1)
    mask = label_of(1).astype(np.float32)
    mask[5, 7] = -9999
    nodata = {"extratags": [(42113, "s", 0, "-9999", True)], "tile": (64, 64), "photometric": "minisblack"}
    for name in "ab":
        (tmp_path / "masks" / f"{name}.png").unlink()
        with tifffile.TiffWriter(tmp_path / "masks" / f"{name}.tif") as file:
            if pyramid:
                file.write(label_of(0).astype(np.float32), metadata=None, **nodata)
            file.write(mask, subfiletype=int(pyramid), metadata=None, **nodata)
    expected = label_of(1)
    expected[5, 7] = 255
    np.testing.assert_array_equal(Folder(tmp_path, "train", level=1, splits=ALL)[0].label_map, expected)


@pytest.mark.parametrize("moved", [0, 30])
@pytest.mark.parametrize("pyramid", [True, False])
def test_a_level_and_a_mask_of_it_lie_in_one_place(tmp_path, pyramid, moved):
    at = {"crs": "EPSG:32633", "photometric": "RGB", "tiled": True}
    image = np.zeros((64, 96, 3), np.uint8)
    for folder, shift, whole in (("images", 0, True), ("masks", moved, pyramid)):
        (tmp_path / folder).mkdir()
        pixels = image if folder == "images" else image[..., :1]
        at["photometric"] = "RGB" if folder == "images" else "MINISBLACK"
        step = 10 if whole else 20
        there = write_tiff(
            tmp_path / folder / "a.tif",
            pixels if whole else pixels[::2, ::2],
            transform=rasterio.Affine(step, 0, 5000 + shift, 0, -step, 9000),
            **at,
        )
        if whole:
            with rasterio.open(there, "r+") as raster:
                raster.build_overviews([2])
    (tmp_path / "classes.txt").write_text("dark\nbright\n")
    dataset = Folder(tmp_path, "train", level=1, splits=ALL)
    if moved:  # by 30 metres, and pixels of the level are 20 wide
        with pytest.raises(DatasetError, match=r"lies elsewhere.*a corner is 1\.5 pixels away"):
            dataset.verify(0)
    else:
        assert dataset.verify(0).original_size == (32, 48)
