import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.voc_boxes import CLASSES, VOCBoxes
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.objects import PLACES, write_voc_boxes, xml_of


class TestVOCBoxes(DatasetContract):
    def make(self, root):
        return VOCBoxes(write_voc_boxes(root), "trainval")


class TestOwnClasses(DatasetContract):
    def make(self, root):
        return VOCBoxes(write_voc_boxes(root, names=("nut", "bolt", "nut", "gear")), "test", classes=None)


def top_of(root):
    return root / "VOCdevkit" / "VOC2007"


def xml(root, stem="000001"):
    return top_of(root) / "Annotations" / f"{stem}.xml"


@pytest.mark.parametrize("inside", [".", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_the_root_may_be_any_of_three_folders(tmp_path, inside):
    assert len(VOCBoxes(write_voc_boxes(tmp_path) / inside, "train")) == 3


def test_pixels_from_1_become_edges(tmp_path):
    write_voc_boxes(tmp_path)
    xml(tmp_path).write_text(xml_of("000001", [("cat", (1, 1, 64, 48), 0), ("cat", ("9.5", 3, 20, 8), 0)]))
    boxes = VOCBoxes(tmp_path, "train")[0].instances.boxes
    assert boxes.tolist() == [[0, 0, 64, 48], [8.5, 2, 20, 8]]
    boxes = VOCBoxes(tmp_path, "train", one_based=False)[0].instances.boxes
    assert boxes.tolist() == [[1, 1, 64, 48], [9.5, 3, 20, 8]]


def test_objects_of_every_image(tmp_path):
    dataset = VOCBoxes(write_voc_boxes(tmp_path), "train")
    sample = dataset[1]
    np.testing.assert_array_equal(sample.instances.boxes, np.array(PLACES, np.float32))
    assert [dataset.info.classes[label] for label in sample.instances.labels] == ["cat", "person", "dog", "person"]
    assert (sample.instances.masks, sample.instances.areas) == (None, None)
    assert (dataset[2].id, len(dataset[2].instances)) == ("000003", 0)


def test_difficult_objects_are_crowd(tmp_path):
    sample = VOCBoxes(write_voc_boxes(tmp_path), "train")[0]
    assert sample.instances.crowd.tolist() == [False, False, False, True]
    taken = VOCBoxes(tmp_path, "train", crowd="objects")
    assert not taken[0].instances.crowd.any()
    assert "2 objects marked difficult taken as any other (first: 000001.xml)" in taken.repairs


def test_classes_are_the_20_unless_told_otherwise(tmp_path):
    write_voc_boxes(tmp_path)
    info = VOCBoxes(tmp_path, "train").info
    assert info.classes == CLASSES
    assert (len(CLASSES), CLASSES[0], CLASSES[-1]) == (20, "aeroplane", "tvmonitor")
    assert info.palette[14] == (192, 128, 128)
    assert (info.name, info.annotates, info.things) == ("VOC2007", {"boxes"}, tuple(range(20)))
    assert VOCBoxes(tmp_path, "train", classes=("person", "dog", "cat"))[0].instances.labels.tolist() == [2, 0, 1, 0]


def test_classes_of_all_files_are_found_whatever_the_split(tmp_path):
    write_voc_boxes(tmp_path)
    xml(tmp_path, "000101").write_text(xml_of("000101", [("ant", (1, 1, 9, 9), 0)]))
    assert VOCBoxes(tmp_path, "train", classes=None).info.classes == ("ant", "cat", "dog", "person")


def test_what_is_commonly_wrong_is_mended_and_counted(tmp_path):
    write_voc_boxes(tmp_path)
    boxes = [(5, 5, 5, 5), (20, 20, 10, 10), (60, 40, 80, 60), (70, 1, 90, 9), (1, 1, 9, 9), (7, 7, 7, 9)]
    xml(tmp_path).write_text(xml_of("000001", [("cat", box, 0) for box in boxes]))
    dataset = VOCBoxes(tmp_path, "train")
    assert dataset.repairs == (
        "2 boxes without area left out (first: 000001.xml)",
        "1 box outside the image left out (first: 000001.xml)",
        "1 box with reversed corners swapped (first: 000001.xml)",
        "1 box reaching out of the image clipped (first: 000001.xml)",
    )
    assert dataset[0].instances.boxes.tolist() == [[9, 9, 20, 20], [59, 39, 64, 48], [0, 0, 9, 9]]


def test_an_xml_without_a_size_takes_the_image_s(tmp_path):
    write_voc_boxes(tmp_path)
    xml(tmp_path).write_text(xml_of("000001", [("cat", (60, 40, 80, 60), 0)], size=(0, 0)))
    assert VOCBoxes(tmp_path, "train")[0].instances.boxes.tolist() == [[59, 39, 64, 48]]


def test_images_may_end_in_anything(tmp_path):
    image = top_of(write_voc_boxes(tmp_path)) / "JPEGImages" / "000001.jpg"
    Image.open(image).save(image.with_suffix(".PNG"), format="PNG")
    image.unlink()
    assert len(VOCBoxes(tmp_path, "train")[0].instances) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation><object>", r"000001.xml is no annotation of boxes: no element found"),
        ("<html><body/></html>", r"000001.xml is no annotation of boxes: its root is <html>, not <annotation>"),
        (xml_of("", [("", (1, 1, 2, 2), 0)]), r"000001.xml is no annotation of boxes: an object has no name"),
        (xml_of("", [("cat", (1, 1, "x", 2), 0)]), r"000001.xml .*: the xmax of an object 'cat' is 'x'"),
        (xml_of("", [("cat", (1, 1, "nan", 2), 0)]), r"000001.xml .*: the xmax of an object 'cat' is 'nan'"),
        (xml_of("", [("cat", (1, 1, 2, 2), 0)]).replace("ymax", "y"), r"the ymax of an object 'cat' is None"),
        (xml_of("", [], size=("inf", 64)), r"000001.xml .*: the height of its image is 'inf'"),
        (xml_of("", [], size=(48, "1e300")), r"000001.xml .*: the width of its image is '1e300'"),
        (xml_of("", [("cats", (1, 1, 2, 2), 0)]), r"(?s)000001.xml has an object 'cats', which.*Did you mean cat\?"),
    ],
)  # fmt: skip
def test_an_xml_that_makes_no_sense_is_named(tmp_path, text, said):
    xml(write_voc_boxes(tmp_path)).write_text(text)
    with pytest.raises(DatasetError, match=said):
        VOCBoxes(tmp_path, "train")


def test_missing_files_are_named(tmp_path):
    write_voc_boxes(tmp_path)
    xml(tmp_path).unlink()
    with pytest.raises(DatasetError, match=r"(?s)000001.xml cannot be read: No such file.*has an xml too"):
        VOCBoxes(tmp_path, "train")
    (top_of(tmp_path) / "JPEGImages" / "000002.jpg").unlink()
    with pytest.raises(DatasetError, match=r"train.txt, entry 2: there is no image '000002' in"):
        VOCBoxes(tmp_path, "train")


def test_an_image_of_another_size_is_named(tmp_path):
    write_voc_boxes(tmp_path)
    Image.new("RGB", (48, 64)).save(top_of(tmp_path) / "JPEGImages" / "000001.jpg")
    with pytest.raises(DatasetError, match=r"000001.xml is of an image of 48x64, and .*000001.jpg has 64x48"):
        VOCBoxes(tmp_path, "train").verify(0)


def test_lists_that_make_no_sense_are_named(tmp_path):
    lists = top_of(write_voc_boxes(tmp_path)) / "ImageSets" / "Main"
    with pytest.raises(DatasetError, match=r"(?s)no list .*Main/trian.txt.*Did you mean train\?"):
        VOCBoxes(tmp_path, "trian")
    (lists / "train.txt").write_text("000001\n000001\n")
    with pytest.raises(DatasetError, match=r"train.txt names 000001 twice"):
        VOCBoxes(tmp_path, "train")
    (lists / "train.txt").write_text("\n")
    with pytest.raises(DatasetError, match=r"train.txt is empty"):
        VOCBoxes(tmp_path, "train")


def test_a_root_without_or_with_two_is_told(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"Neither .* holds JPEGImages, Annotations and ImageSets/Main"):
        VOCBoxes(tmp_path, "train")
    write_voc_boxes(tmp_path / "VOCdevkit" / "x")
    (top_of(tmp_path / "VOCdevkit" / "x")).rename(tmp_path / "VOCdevkit" / "VOC2012")
    write_voc_boxes(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"holds more than one: VOC2007, VOC2012"):
        VOCBoxes(tmp_path, "train")


@pytest.mark.parametrize("classes", [(), ("cat", "dog", "cat")])
def test_classes_that_cannot_be(tmp_path, classes):
    with pytest.raises(ConfigError, match=r"data.classes=\[.*\] names (no class|cat twice)"):
        VOCBoxes(write_voc_boxes(tmp_path), "train", classes=classes)


def bccd():
    return Path(os.environ.get("COATSEG_REAL_DATA", "")) / "bccd"


@pytest.mark.real
class TestRealBCCD(DatasetContract):
    def make(self, root):
        return VOCBoxes(bccd(), "test", classes=None)


@pytest.mark.real
def test_real_blood_cells_are_counted_and_two_boxes_left_out():
    splits = {split: VOCBoxes(bccd(), split, classes=None) for split in ("train", "val", "test")}
    assert [len(dataset) for dataset in splits.values()] == [205, 87, 72]
    assert splits["train"].info.classes == ("Platelets", "RBC", "WBC")
    labels = np.concatenate([d[index].instances.labels for d in splits.values() for index in range(len(d))])
    assert np.bincount(labels).tolist() == [361, 4155 - 2, 372]
    assert [dataset.repairs for dataset in splits.values()] == [
        ("1 box without area left out (first: BloodImage_00343.xml)",),
        ("1 box without area left out (first: BloodImage_00338.xml)",),
        (),
    ]
