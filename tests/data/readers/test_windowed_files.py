import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.augmentations.flips import horizontal_flip
from coatseg.data.augmentations.transform import Transform
from coatseg.data.datasets.folder import Folder
from coatseg.data.images.reading import read_image
from coatseg.data.inspection.first_look import look_first
from coatseg.data.loading.module import DataModule
from coatseg.data.loading.sampling import Draw
from coatseg.data.loading.subset import Limited, example
from coatseg.data.loading.worker_reading import DrawnSteps
from coatseg.data.readers import windowed_files
from coatseg.data.readers.windowed_files import draw_window
from coatseg.errors import DatasetError, ImageError
from coatseg.structures import RandomDataset
from tests.contracts.dataset import DatasetContract, assert_same, check_sample
from tests.data.generate import write_folder
from tests.data.rasters import write_tiff

SIZE = (96, 128)


def write_scenes(root, *, suffix=".tif", mask_suffix=".tif", count=2, **options):
    """A dataset whose images hold the place of each pixel, y in the first channel and x in the second."""
    write_folder(root, layout="folders", count=count, size=SIZE, **options)
    place = np.stack([*np.indices(SIZE), np.zeros(SIZE, int)], axis=-1).astype(np.uint8)
    for path in sorted(root.glob("*/images/*")):
        path.unlink()
        if suffix == ".tif":
            write_tiff(path.with_suffix(suffix), place, tiled=True, compress="deflate")
        else:
            Image.fromarray(place).save(path.with_suffix(suffix))
    if mask_suffix == ".tif":
        for path in sorted(root.glob("*/masks/*")):
            mask = np.asarray(Image.open(path))
            path.unlink()
            write_tiff(path.with_suffix(".tif"), mask if mask.ndim == 3 else mask[..., None], tiled=True)
    return root


class TestTiff(DatasetContract):
    def make(self, root):
        return Folder(write_scenes(root), "train", window=[32, 48], windows_per_image=3)


class TestPng(DatasetContract):
    def make(self, root):
        return Folder(write_scenes(root, suffix=".png", mask_suffix=".png"), "train", window=[32, 48])


class TestColourMasks(DatasetContract):
    def make(self, root):
        return Folder(write_scenes(root, coloured=True), "train", window=[32, 48], colour_masks=True)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_a_window_is_the_same_place_of_image_and_mask(tmp_path, suffix):
    write_scenes(tmp_path, suffix=suffix, mask_suffix=suffix)
    whole, dataset = Folder(tmp_path, "train"), Folder(tmp_path, "train", window=[32, 48], windows_per_image=5)
    for index in range(len(dataset)):
        sample = dataset.drawn(index, seed=index)
        check_sample(sample, dataset.info)
        y, x = sample.image[0, 0, :2].tolist()
        assert sample.id == f"{whole[index % 2].id}@{y},{x}"
        assert sample.original_size == sample.image.shape[:2] == (32, 48)
        np.testing.assert_array_equal(sample.image, whole[index % 2].image[y : y + 32, x : x + 48])
        np.testing.assert_array_equal(sample.label_map, whole[index % 2].label_map[y : y + 32, x : x + 48])


def test_an_epoch_has_windows_of_every_image_and_other_splits_are_whole(tmp_path):
    write_scenes(tmp_path)
    train, val = (Folder(tmp_path, split, window=[32, 48], windows_per_image=5) for split in ("train", "val"))
    assert (len(train), len(val)) == (10, 2)
    assert sorted(sample.id.split("@")[0] for sample in train) == ["train_00"] * 5 + ["train_01"] * 5
    assert val[0].original_size == SIZE
    assert_same(example(val, 0, seed=3), val[0])


def test_a_window_is_a_function_of_index_and_seed(tmp_path):
    dataset = Folder(write_scenes(tmp_path), "train", window=[32, 48])
    copy = pickle.loads(pickle.dumps(dataset))
    forwards = [dataset.drawn(0, seed) for seed in range(8)]
    backwards = [copy.drawn(0, seed) for seed in reversed(range(8))][::-1]
    for mine, its in zip(forwards, backwards, strict=True):
        assert_same(mine, its)
    assert len({sample.id for sample in forwards}) == 8


def test_windows_reach_every_place_evenly():
    corners = [(window.y, window.x) for window in (draw_window((11, 12), (10, 10), seed) for seed in range(600))]
    assert set(corners) == {(y, x) for y in range(2) for x in range(3)}
    assert min(corners.count(corner) for corner in set(corners)) > 60


def test_windows_and_augmentations_draw_independently(tmp_path):
    dataset = Folder(write_scenes(tmp_path), "train", window=[32, 48])
    flip = Transform([horizontal_flip(dataset.info)], dataset.info)
    flipped, left = [], []
    for seed in range(120):
        sample = dataset.drawn(0, seed)
        left.append(sample.image[0, 0, 1] < 40)
        flipped.append(bool(flip(sample, seed).image[0, 0, 1] != sample.image[0, 0, 1]))
    assert abs(np.corrcoef(left, flipped)[0, 1]) < 0.25


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_an_image_smaller_than_a_window_gives_all_there_is(tmp_path, suffix):
    dataset = Folder(write_scenes(tmp_path, suffix=suffix), "train", window=[500, 48])
    sample = dataset[0]
    check_sample(sample, dataset.info)
    assert sample.original_size == (96, 48)
    assert sample.id.startswith("train_00@0,")


def test_training_batches_are_drawn_and_evaluation_is_not(tmp_path):
    write_scenes(tmp_path)
    dataset = Folder(tmp_path, "train", window=[32, 48], windows_per_image=4)
    training = DrawnSteps(dataset, 1, lambda sample, seed: sample)
    (batch,) = training[[Draw(0, seed=11), Draw(3, seed=12)]].batches()
    assert batch.ids == (dataset.drawn(0, 11).id, dataset.drawn(3, 12).id)
    assert batch.original_sizes == ((32, 48), (32, 48))
    (whole,) = DrawnSteps(Folder(tmp_path, "val", window=[32, 48]))[[Draw(0)]].batches()
    assert whole.original_sizes == (SIZE,)


def test_a_limit_keeps_windows_of_the_first_images(tmp_path):
    write_scenes(tmp_path)

    def make(split):
        return Folder(tmp_path, split, window=[32, 48], windows_per_image=4)

    module = DataModule(make, lambda sample, seed: sample, make("train").info, limit=3)
    limited = module.split("train")
    assert isinstance(limited, RandomDataset)
    assert len(limited) == 3
    assert_same(limited.drawn(1, seed=9), make("train").drawn(1, seed=9))
    assert "3 of 3 train" in look_first(module, ["train"]).words


def test_datasets_that_do_not_draw_are_read_as_they_are(tmp_path):
    dataset = Folder(write_scenes(tmp_path), "val")

    class Plain:
        info = dataset.info

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return dataset[index]

        def verify(self, index):
            pass

    assert not isinstance(Plain(), RandomDataset)
    assert_same(Limited(Plain(), 1).drawn(0, seed=5), dataset[0])


def test_verifying_decodes_one_window_only(tmp_path, monkeypatch):
    dataset = Folder(write_scenes(tmp_path), "train", window=[32, 48])
    given = []
    monkeypatch.setattr(
        windowed_files, "read_image", lambda *arguments: given.append(arguments[3]) or read_image(*arguments)
    )
    dataset.verify(0)
    assert [(window.height, window.width) for window in given] == [(32, 48)]


def test_verifying_finds_a_file_that_is_cut_short_outside_the_window(tmp_path):
    dataset = Folder(write_scenes(tmp_path), "train", window=[8, 8])
    for kind in ("images", "masks"):
        path = tmp_path / "train" / kind / "train_00.tif"
        whole = path.read_bytes()
        path.write_bytes(whole[:-5])
        with pytest.raises(ImageError, match=rf"(?s){kind}/train_00.tif has {len(whole) - 5} bytes.*cut short"):
            dataset.verify(0)
        path.write_bytes(whole)


def test_labels_out_of_range_are_named_by_their_place_in_the_file(tmp_path):
    dataset = Folder(write_scenes(tmp_path, count=1), "train", window=[96, 100])
    mask = np.zeros((*SIZE, 1), np.uint16)
    mask[50, 64] = 4000
    write_tiff(tmp_path / "train" / "masks" / "train_00.tif", mask, tiled=True)
    for read in (dataset.verify, dataset.__getitem__):
        with pytest.raises(DatasetError, match=r"train_00.tif holds the label 4000, first at \(x=64, y=50\)"):
            read(0)


def test_masks_may_have_types_that_images_have_not(tmp_path):
    dataset = Folder(write_scenes(tmp_path, count=1), "train", window=[32, 48], ignore_index=-1)
    write_tiff(tmp_path / "train" / "masks" / "train_00.tif", np.full((*SIZE, 1), -1, np.int16), tiled=True)
    dataset.verify(0)
    assert (dataset[0].label_map == -1).all()


def test_what_does_not_fit_is_named_from_the_headers(tmp_path):
    dataset = Folder(write_scenes(tmp_path), "train", window=[32, 48])
    write_tiff(tmp_path / "train" / "masks" / "train_00.tif", np.zeros((96, 127, 1), np.uint8))
    with pytest.raises(DatasetError, match=r"train_00.tif is 96x127, its image .* 96x128"):
        dataset.verify(0)
    (tmp_path / "train" / "masks" / "train_01.tif").unlink()
    with pytest.raises(DatasetError, match=r"train_01.tif has no mask"):
        dataset.verify(1)
    with pytest.raises(ImageError, match=r"has 3 channels.*states 4"):
        Folder(tmp_path, "val", window=[32, 48], channels=4).verify(0)


def test_windows_of_tiff_need_rasterio(tmp_path, monkeypatch):
    dataset = Folder(write_scenes(tmp_path), "train", window=[32, 48])
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ImageError, match=r"by windows") as raised:
        dataset.verify(0)
    assert Path(raised.value.what.split(" is a TIFF")[0]).name == "train_00.tif"
