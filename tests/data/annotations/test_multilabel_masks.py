"""Folders whose masks are layers: a file a class."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.augmentations.crop import random_crop
from coatseg.data.augmentations.flips import horizontal_flip
from coatseg.data.augmentations.resize import random_scale
from coatseg.data.augmentations.transform import Transform
from coatseg.data.datasets.folder import Folder
from coatseg.data.trees.splits import Splits
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.structures import Dataset
from tests.contracts.dataset import DatasetContract, check_sample
from tests.data.generate import write_folder, write_layers
from tests.data.rasters import write_pages, write_tiff

SEVERAL = ("red", "green", "blue")


def everything(root: Path, **options: object) -> Folder:
    return Folder(root, "train", splits=Splits(val_fraction=0.0001), layers=True, **options)


class TestOneClass(DatasetContract):
    def make(self, root: Path) -> Dataset:
        return everything(write_layers(root, ["object"]))


class TestSeveralClasses(DatasetContract):
    def make(self, root: Path) -> Dataset:
        return everything(write_layers(root, SEVERAL))


class TestWithUnknownPixels(DatasetContract):
    def make(self, root: Path) -> Dataset:
        write_layers(root, SEVERAL)
        for path in (root / "masks").rglob("*.png"):
            mask = np.array(Image.open(path))
            mask[:5] = 128
            Image.fromarray(mask).save(path)
        return everything(root, ignore_index=128)

    def test_they_are_marked_in_the_layers_that_have_them(self, dataset: Dataset) -> None:
        layers = dataset[0].layers
        assert layers is not None
        assert (layers[:5, :, :2] == 128).all()
        assert not layers[..., 2].any()  # blue has no file for this image


@pytest.mark.parametrize("value", [1, 7, 128, 255])
def test_all_that_is_not_zero_is_the_class(tmp_path: Path, value: int) -> None:
    write_layers(tmp_path, ["object"], count=1)
    mask = np.zeros((32, 40), np.uint8)
    mask[3:9, 4:20] = value
    Image.fromarray(mask).save(tmp_path / "masks" / "00.png")
    layers = everything(tmp_path)[0].layers
    assert layers is not None
    np.testing.assert_array_equal(layers[..., 0], mask > 0)


def test_black_and_white_masks_of_one_bit_are_read(tmp_path: Path) -> None:
    write_layers(tmp_path, ["object"], count=1)
    mask = Image.open(tmp_path / "masks" / "00.png").convert("1")
    mask.save(tmp_path / "masks" / "00.png")
    sample = everything(tmp_path)[0]
    assert sample.layers is not None
    np.testing.assert_array_equal(sample.layers[..., 0], np.array(mask))


def test_layers_are_in_the_order_of_the_classes_and_may_overlap(tmp_path: Path) -> None:
    dataset = everything(write_layers(tmp_path, SEVERAL, count=3))
    sample = dataset[2]
    assert sample.layers is not None
    for number, name in enumerate(SEVERAL):
        expected = np.array(Image.open(tmp_path / "masks" / name / "02.png")) > 0
        np.testing.assert_array_equal(sample.layers[..., number], expected)
    assert (sample.layers.sum(-1) > 1).any()


def test_an_image_without_a_file_of_a_class_does_not_show_it(tmp_path: Path) -> None:
    layers = everything(write_layers(tmp_path, SEVERAL, count=1))[0].layers
    assert layers is not None
    assert not layers[..., 2].any()
    assert layers[..., :2].any(axis=(0, 1)).all()


@pytest.mark.parametrize("shown", range(3))
def test_an_image_may_show_any_class_alone(tmp_path: Path, shown: int) -> None:
    write_layers(tmp_path, SEVERAL, count=1)
    (only,) = (tmp_path / "masks").rglob(f"{SEVERAL[0]}/*.png")
    mask = np.asarray(Image.open(only))
    for path in (tmp_path / "masks").rglob("*.png"):
        path.unlink()
    Image.fromarray(mask).save(tmp_path / "masks" / SEVERAL[shown] / only.name)
    layers = everything(tmp_path)[0].layers
    assert layers is not None
    np.testing.assert_array_equal(layers, (mask != 0)[..., None] & (np.arange(3) == shown))


def test_an_image_without_any_mask_is_named(tmp_path: Path) -> None:
    write_layers(tmp_path, SEVERAL, count=3)
    for path in (tmp_path / "masks").rglob("01.png"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"(?s)01.png has no mask in .*masks.*Add .*masks/red/01.png"):
        everything(tmp_path)


@pytest.mark.parametrize("gone", ["masks", "masks/green"])
def test_a_missing_folder_is_named_with_the_layout(tmp_path: Path, gone: str) -> None:
    shutil.rmtree(write_layers(tmp_path, SEVERAL) / gone)
    with pytest.raises(DatasetNotFoundError, match=rf"(?s)There is no folder .*{gone}.*masks/CLASS/ for each name"):
        everything(tmp_path)


def test_a_missing_folder_of_a_class_names_those_that_are_there(tmp_path: Path) -> None:
    (write_layers(tmp_path, SEVERAL, count=2) / "masks/green").rename(tmp_path / "masks/Green")
    with pytest.raises(DatasetNotFoundError, match=r"masks holds Green/, blue/, red/\. With data.layers=true"):
        everything(tmp_path)


def test_masks_of_several_sizes_are_named(tmp_path: Path) -> None:
    write_layers(tmp_path, SEVERAL, count=2)
    Image.new("L", (8, 9)).save(tmp_path / "masks" / "blue" / "01.png")
    with pytest.raises(DatasetError, match=r"red/01.png is 32x40, and .*blue/01.png is 9x8"):
        everything(tmp_path).verify(1)


def test_masks_of_another_size_than_the_image_are_named(tmp_path: Path) -> None:
    write_layers(tmp_path, ["object"], count=1)
    Image.new("L", (8, 9)).save(tmp_path / "masks" / "00.png")
    with pytest.raises(DatasetError, match=r"masks/00.png is 9x8, its image .* 32x40"):
        everything(tmp_path).verify(0)


def test_masks_in_colour_are_told_how_to_be(tmp_path: Path) -> None:
    write_layers(tmp_path, ["object"], count=1)
    Image.new("RGB", (40, 32)).save(tmp_path / "masks" / "00.png")
    with pytest.raises(DatasetError, match=r"(?s)00.png.*Save it as a single-channel PNG: 0 where the class is not"):
        everything(tmp_path).verify(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ignore_index": 1}, r"(?s)data.ignore_index=1 cannot be with data.layers=true.*from 2 to 255"),
        ({"ignore_index": 256}, "data.ignore_index=256"),
        ({"colour_masks": True}, "exclude each other"),
    ],
)
def test_options_that_cannot_be_are_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        everything(write_layers(tmp_path, ["object"], count=1), **options)


def test_layers_can_be_split_by_folders(tmp_path: Path) -> None:
    write_layers(tmp_path / "train", SEVERAL, count=2)
    shutil.move(tmp_path / "train" / "classes.txt", tmp_path / "classes.txt")
    dataset = Folder(tmp_path, "train", layers=True)
    assert [sample.id for sample in dataset] == ["00", "01"]


def test_a_single_class_is_not_painted_black(tmp_path: Path) -> None:
    assert everything(write_layers(tmp_path, ["object"], count=1)).info.palette == ((128, 0, 0),)


@pytest.mark.parametrize("classes", [["object"], SEVERAL, [f"class {number}" for number in range(7)]])
def test_any_number_of_layers_is_augmented(tmp_path: Path, classes: list[str]) -> None:
    dataset = everything(write_layers(tmp_path, classes, count=1))
    info = dataset.info
    transform = Transform([random_scale(info), random_crop(info, size=[48, 48]), horizontal_flip(info)], info)
    for seed in range(4):
        done = transform(dataset[0], seed)
        assert done.layers is not None
        assert done.layers.shape == (48, 48, len(classes))
        assert {0, 1} <= set(np.unique(done.layers)) <= {0, 1, 255}


def test_label_maps_stay_what_they_were(tmp_path: Path) -> None:
    dataset = Folder(write_folder(tmp_path), "train")
    check_sample(dataset[0], dataset.info)
    assert dataset[0].layers is None


def test_windows_of_layers_check_the_files_of_every_class(tmp_path: Path) -> None:
    write_layers(tmp_path, SEVERAL, count=2)
    splits = Splits(split_by="fraction", val_fraction=1e-9)
    dataset = Folder(tmp_path, "train", splits=splits, layers=True, window=[16, 16])
    assert dataset.drawn(0, seed=3).layers.shape == (16, 16, len(SEVERAL))
    path = tmp_path / "masks" / SEVERAL[1] / "00.png"
    Image.open(path).resize((80, 64)).save(path)
    with pytest.raises(DatasetError, match=f"{SEVERAL[1]}.*is 64x80"):
        dataset.drawn(0, seed=3)
    with pytest.raises(DatasetError, match=f"{SEVERAL[1]}.*is 64x80"):
        dataset.verify(0)


def test_more_layers_than_can_be_moved_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="129 classes, and layers are at most 128"):
        everything(write_layers(tmp_path, [f"class {number}" for number in range(129)], count=1))


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("int8", -1), ("uint8", 255), ("float32", np.nan)])
@pytest.mark.parametrize("ignore_index", [255, 128])
def test_the_nodata_of_a_layer_is_not_the_object(tmp_path: Path, dtype: str, nodata: float, ignore_index: int) -> None:
    write_layers(tmp_path, ["object"], count=1)
    mask = np.zeros((32, 40, 1), dtype)
    mask[3:9, 4:20] = 7
    mask[20:] = nodata
    (tmp_path / "masks" / "00.png").unlink()
    write_tiff(tmp_path / "masks" / "00.tif", mask, nodata=nodata)
    layers = everything(tmp_path, ignore_index=ignore_index)[0].layers
    assert layers is not None
    assert (layers[20:] == ignore_index).all()
    np.testing.assert_array_equal(layers[:20, :, 0], mask[:20, :, 0] == 7)


def test_nodata_of_zero_is_where_the_class_is_not(tmp_path: Path) -> None:
    write_layers(tmp_path, ["object"], count=1)
    mask = np.zeros((32, 40, 1), np.uint8)
    mask[3:9] = 255
    (tmp_path / "masks" / "00.png").unlink()
    write_tiff(tmp_path / "masks" / "00.tif", mask, nodata=0)
    np.testing.assert_array_equal(everything(tmp_path)[0].layers, mask // 255)


@pytest.mark.parametrize("kind", ["pages", "bands", "array"])
def test_a_file_may_hold_the_layers_of_all_classes(tmp_path: Path, kind: str) -> None:
    expected = [sample.layers for sample in everything(write_layers(tmp_path, SEVERAL, count=2))]
    shutil.rmtree(tmp_path / "masks")
    (tmp_path / "masks").mkdir()
    for number, layers in enumerate(expected):
        path = tmp_path / "masks" / f"{number:02d}.tif"
        if kind == "pages":
            write_pages(path, list(layers.transpose(2, 0, 1)))
        elif kind == "bands":
            write_tiff(path, layers)
        else:
            np.save(path.with_suffix(".npy"), layers.astype(bool))
    for sample, layers in zip(everything(tmp_path), expected, strict=True):
        np.testing.assert_array_equal(sample.layers, layers)
    windowed = everything(tmp_path, window=(8, 9), windows_per_image=2)
    windowed.verify(0)
    assert windowed[0].layers.shape == (8, 9, 3)


def test_a_file_of_another_number_of_layers_is_named(tmp_path: Path) -> None:
    write_layers(tmp_path, SEVERAL, count=1)
    shutil.rmtree(tmp_path / "masks")
    (tmp_path / "masks").mkdir()
    write_pages(tmp_path / "masks" / "00.tif", [np.zeros((32, 40), np.uint8)] * 2)
    with pytest.raises(DatasetError, match=r"(?s)00.tif has 2 pages or bands for 3 classes.*in its order"):
        everything(tmp_path).verify(0)
