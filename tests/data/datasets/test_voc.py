import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.voc import VOC
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.official import write_voc


class TestVOC(DatasetContract):
    def make(self, root):
        return VOC(write_voc(root), "trainval")


class TestAugmentedVOC(DatasetContract):
    def make(self, root):
        return VOC(write_voc(root, augmented=2), "trainval", augmented=True)


def ids(dataset):
    return [sample.id for sample in dataset]


def top_of(root):
    return root / "VOCdevkit" / "VOC2012"


def list_of(root, name="train"):
    return top_of(root) / "ImageSets" / "Segmentation" / f"{name}.txt"


@pytest.mark.parametrize("inside", [".", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_root_may_be_any_of_three_folders(tmp_path, inside):
    assert len(VOC(write_voc(tmp_path) / inside, "train")) == 3


def test_splits_are_the_lists(tmp_path):
    write_voc(tmp_path, count=2)
    assert ids(VOC(tmp_path, "train")) == ["2007_000000", "2007_000001"]
    assert ids(VOC(tmp_path, "trainval")) == [*ids(VOC(tmp_path, "train")), *ids(VOC(tmp_path, "val"))]
    with pytest.raises(ConfigError, match=r"(?s)voc has no split 'test'.*Choices: train, trainval, val"):
        VOC(tmp_path, "test")


def test_palette_indices_are_the_labels_and_255_is_ignored(tmp_path):
    sample = VOC(write_voc(tmp_path), "train")[0]
    mask = Image.open(top_of(tmp_path) / "SegmentationClass" / "2007_000000.png")
    assert mask.mode == "P"
    np.testing.assert_array_equal(sample.label_map, np.asarray(mask))
    assert set(np.unique(sample.label_map)) == {0, 1, 15, 20, 255}


def test_classes_and_colours_are_the_published_ones(tmp_path):
    info = VOC(write_voc(tmp_path), "train").info
    assert (len(info.classes), info.classes[0], info.classes[15], info.ignore_index) == (
        21,
        "background",
        "person",
        255,
    )
    assert info.palette[1] == (128, 0, 0)
    assert info.palette[15] == (192, 128, 128)
    assert info.palette[20] == (0, 64, 128)


def test_augmented_train_has_the_images_of_sbd_and_val_stays(tmp_path):
    write_voc(tmp_path, count=2, augmented=2)
    train, val = (VOC(tmp_path, split, augmented=True) for split in ("train", "val"))
    assert ids(train) == ["2007_000000", "2007_000001", "2010_000000", "2010_000001"]
    assert set(np.unique(train[3].label_map)) == {0, 3, 7}
    assert ids(val) == ids(VOC(tmp_path, "val"))
    assert ids(VOC(tmp_path, "train")) == ["2007_000000", "2007_000001"]


def test_where_voc_has_a_mask_of_its_own_it_goes_before_the_augmented_one(tmp_path):
    write_voc(tmp_path, augmented=1)
    Image.new("L", (48, 36), 9).save(top_of(tmp_path) / "SegmentationClassAug" / "2007_000000.png")
    train, plain = VOC(tmp_path, "train", augmented=True), VOC(tmp_path, "train")
    np.testing.assert_array_equal(train[0].label_map, plain[0].label_map)


@pytest.mark.parametrize(
    "place",
    ["Segmentation/train_aug", "SegmentationAug/train_aug", "SegmentationAug/trainaug", "Segmentation/trainaug"],
)
def test_lists_of_deeplab_name_images_and_masks(tmp_path, place):
    write_voc(tmp_path, augmented=1)
    list_of(tmp_path, "trainaug").unlink()
    path = top_of(tmp_path) / "ImageSets" / f"{place}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "/JPEGImages/2010_000000.jpg /SegmentationClassAug/2010_000000.png\n"
        "/JPEGImages/2007_000001.jpg /SegmentationClass/2007_000001.png\n"
    )
    train = VOC(tmp_path, "train", augmented=True)
    assert ids(train) == ["2010_000000", "2007_000001"]
    assert set(np.unique(train[0].label_map)) == {0, 3, 7}


def test_missing_augmented_files_are_named(tmp_path):
    write_voc(tmp_path, augmented=1)
    (top_of(tmp_path) / "SegmentationClassAug").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"(?s)there is no .*VOC2012/SegmentationClassAug\..*SBD; data/README.md"):
        VOC(tmp_path, "train", augmented=True)
    list_of(tmp_path, "trainaug").unlink()
    with pytest.raises(DatasetError, match=r"(?s)there is no .*trainaug.txt\..*data.augmented=false"):
        VOC(tmp_path, "train", augmented=True)


def test_a_missing_tree_says_what_was_looked_for_where_and_how_to_get_it(tmp_path):
    with pytest.raises(DatasetNotFoundError) as raised:
        VOC(tmp_path, "train")
    assert f"not in {tmp_path}: there is no VOCdevkit/VOC2012/JPEGImages" in raised.value.what
    for part in ("data.download=true", "VOCtrainval_11-May-2012.tar", "data.root="):
        assert part in raised.value.mend


def test_a_missing_list_names_the_splits_there_are(tmp_path):
    write_voc(tmp_path)
    list_of(tmp_path, "val").unlink()
    with pytest.raises(DatasetError, match=r"no list .*Segmentation/val.txt; there are the splits: train, trainval"):
        VOC(tmp_path, "val")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n", r"train.txt is empty"),
        ("2007_000000\n2007_000001 -1\n", r"train.txt, line 2: '2007_000001 -1' names no image"),
        ("2007_000000\n2007_000000\n", r"train.txt names 2007_000000 twice"),
    ],
)
def test_a_list_that_makes_no_sense_is_named(tmp_path, text, said):
    write_voc(tmp_path)
    list_of(tmp_path).write_text(text)
    with pytest.raises(DatasetError, match=said):
        VOC(tmp_path, "train")


def test_listed_files_that_are_not_there_are_named(tmp_path):
    write_voc(tmp_path)
    (top_of(tmp_path) / "SegmentationClass" / "2007_000000.png").unlink()
    with pytest.raises(DatasetError, match=r"(?s)2007_000000.jpg has no mask.*SegmentationClass/2007_000000.png"):
        VOC(tmp_path, "train").verify(0)
    (top_of(tmp_path) / "JPEGImages" / "2007_000001.jpg").unlink()
    with pytest.raises(DatasetError, match=r"train.txt, line 2: there is no image 2007_000001.jpg"):
        VOC(tmp_path, "train")


def test_a_mask_saved_as_colours_is_refused_with_the_right_file(tmp_path):
    write_voc(tmp_path)
    path = top_of(tmp_path) / "SegmentationClass" / "2007_000000.png"
    Image.open(path).convert("RGB").save(path)
    with pytest.raises(DatasetError) as raised:
        VOC(tmp_path, "train").verify(0)
    assert "SegmentationClass/2007_000000.png is a picture of RGB mode" in raised.value.what
    assert "palette" in raised.value.mend
    assert "saved as RGB" in raised.value.mend


@pytest.mark.parametrize(("number", "dtype"), [(21, np.uint8), (254, np.uint8), (257, np.uint16)])
def test_a_number_that_is_no_class_is_named_with_its_first_pixel(tmp_path, number, dtype):
    write_voc(tmp_path)
    stored = np.zeros((36, 48), dtype)
    stored[35, 47] = number
    Image.fromarray(stored).save(top_of(tmp_path) / "SegmentationClass" / "2007_000000.png")
    with pytest.raises(DatasetError, match=rf"holds the number {number}, first at \(x=47, y=35\), which Pascal VOC"):
        VOC(tmp_path, "train").verify(0)


def real_voc():
    return Path(os.environ.get("COATSEG_REAL_DATA", "")) / "voc"


@pytest.mark.real
class TestRealVOC(DatasetContract):
    def make(self, root):
        return VOC(real_voc(), "trainval")


@pytest.mark.real
def test_real_masks_hold_what_their_palettes_show():
    dataset = VOC(real_voc(), "trainval")
    colours = np.array([*dataset.info.palette, *[(0, 0, 0)] * 234, (224, 224, 192)], np.uint8)
    shown = 0
    for sample in dataset:
        with Image.open(real_voc() / "VOCdevkit/VOC2012/SegmentationClass" / f"{sample.id}.png") as mask:
            np.testing.assert_array_equal(colours[sample.label_map], np.asarray(mask.convert("RGB")))
        shown += (sample.label_map == 255).any()
    assert len(dataset) == 4
    assert shown > 0
