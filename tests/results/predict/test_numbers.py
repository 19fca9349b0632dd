"""numbers=dataset: label maps that the dataset's own reader, and its server's tools, read as they were meant."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.ade20k import ADE20K
from coatseg.data.datasets.cityscapes import Cityscapes
from coatseg.data.datasets.coco_panoptic import CocoPanoptic
from coatseg.data.datasets.coco_stuff import CocoStuff
from coatseg.data.datasets.voc import VOC
from coatseg.errors import ConfigError
from coatseg.results.predict.canvas import LabelMap
from coatseg.results.predict.numbers import category_ids, dataset_numbering
from coatseg.results.predict.writers import LabelMapWriter, writer_of
from coatseg.structures import Dataset, DatasetInfo
from coatseg.system.fsspec_folders import Place
from coatseg.tasks.multilabel import MultilabelTask
from tests.data.official import (
    SIZE,
    write_ade20k,
    write_cityscapes,
    write_coco_panoptic,
    write_coco_stuff,
    write_voc,
)
from tests.results.models import small_predictor
from tests.results.predict.forms.predictions import source


def written(folder: Path, info: DatasetInfo, labels: np.ndarray) -> Path:
    LabelMapWriter(Place(folder), info, numbers="dataset").write(source(), LabelMap("a", labels), None)
    return folder / "labels" / "a.png"


@pytest.mark.parametrize(
    ("make", "read", "mask", "largest"),
    [
        (write_ade20k, ADE20K, "ADEChallengeData2016/annotations/validation/*.png", 150),
        (write_cityscapes, Cityscapes, "gtFine/val/*/*_labelIds.png", 33),
        (write_coco_stuff, CocoStuff, "stuffthingmaps/val2017/*.png", 255),
        (write_voc, VOC, "VOCdevkit/VOC2012/SegmentationClass/2008*.png", 255),
    ],
    ids=["ade20k", "cityscapes", "coco_stuff", "voc"],
)
def test_label_maps_in_a_datasets_own_numbers_are_read_back_by_its_reader(
    make: Callable[[Path], Path], read: Callable[..., Dataset], mask: str, largest: int, tmp_path: Path
) -> None:
    root = make(tmp_path / "data")
    info = read(root, "val").info
    labels = np.random.default_rng(0).integers(0, len(info.classes), SIZE).astype(np.uint8)
    labels[:2] = info.ignore_index
    path = written(tmp_path, info, labels)
    shutil.copy(path, sorted(root.glob(mask))[0])
    assert np.array_equal(read(root, "val")[0].label_map, labels)
    assert np.asarray(Image.open(path)).max() == largest


def test_cityscapes_predictions_are_label_ids_and_not_train_ids(tmp_path: Path) -> None:
    labels = np.arange(19, dtype=np.uint8).reshape(1, 19)
    picture = Image.open(written(tmp_path, Cityscapes.info, labels))
    assert np.asarray(picture).tolist() == [
        [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33],
    ]  # fmt: skip
    assert picture.convert("RGB").getpixel((0, 0)) == Cityscapes.info.palette[0]


def test_ade20k_predictions_count_from_one(tmp_path: Path) -> None:
    labels = np.array([[0, 149, 255]], np.uint8)
    assert np.asarray(Image.open(written(tmp_path, ADE20K.info, labels))).tolist() == [[1, 150, 0]]


def test_coco_panoptic_states_its_category_ids(tmp_path: Path) -> None:
    info = CocoPanoptic(write_coco_panoptic(tmp_path), "val").info
    assert info.category_ids == (1, 13, 118, 187)
    assert dataset_numbering(info).nothing == 0
    assert [CocoPanoptic.published[name] for name in info.classes] == [1, 13, 118, 187]


@pytest.mark.parametrize("reader", [ADE20K, CocoStuff])
def test_a_checkpoint_from_before_a_reader_stated_its_numbers_has_them(reader: type) -> None:
    info = reader.info
    assert category_ids(replace(info, category_ids=())) == info.category_ids
    assert category_ids(replace(info, category_ids=(), classes=info.classes[::-1])) == ()


def test_an_old_checkpoint_of_coco_panoptic_has_the_published_numbers() -> None:
    info = replace(ADE20K.info, name="coco_panoptic", category_ids=(), classes=("sky-other-merged", "person"))
    assert category_ids(info) == (187, 1)
    assert category_ids(replace(info, classes=("my own", "person"))) == ()


def test_data_whose_numbers_are_its_class_numbers_keeps_them(tmp_path: Path) -> None:
    info = small_predictor().info
    labels = np.array([[0, 3, 255]], np.uint8)
    assert np.asarray(Image.open(written(tmp_path, info, labels))).tolist() == [[0, 3, 255]]


def test_a_number_that_is_free_stands_for_pixels_without_a_class() -> None:
    info = replace(small_predictor(classes=2).info, category_ids=(0, 255))
    assert dataset_numbering(info).nothing == 1


def test_numbers_beyond_a_byte_are_16_bit_and_beyond_that_refused(tmp_path: Path) -> None:
    info = replace(small_predictor(classes=2).info, category_ids=(7, 300))
    assert np.asarray(Image.open(written(tmp_path, info, np.array([[1, 0, 255]], np.uint8)))).tolist() == [[300, 7, 0]]
    with pytest.raises(ConfigError, match="has the number 70000 for class 1, and a PNG holds 0 to 65535"):
        dataset_numbering(replace(info, category_ids=(7, 70000)))


def test_numbers_are_for_label_maps_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="numbers=dataset is for label maps"):
        writer_of(small_predictor(task=MultilabelTask).task, Place(tmp_path), "dataset")
    with pytest.raises(ConfigError, match="Did you mean dataset"):
        writer_of(small_predictor().task, Place(tmp_path), "datasets")
