import json

import numpy as np
import pytest
from PIL import Image

from coatseg.data.annotations.objects.options import ClassChoice
from coatseg.data.datasets.labelme import LabelMe
from coatseg.data.trees.annotation_files import AnnotationFiles
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.formats import labelme_content, png_of, shape, write_labelme

SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30]]


class TestLabelMe(DatasetContract):
    def make(self, root):
        return LabelMe(write_labelme(root), "train")


class TestPainted(DatasetContract):
    def make(self, root):
        return LabelMe(write_labelme(root), "train", semantic=True)


def one(root, *shapes, size=(48, 64), **changed):
    """Write an image of zeros with these shapes into the split train."""
    path = root / "train" / "x.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size[::-1]).save(path)
    path.with_suffix(".json").write_text(json.dumps({**labelme_content(path, shapes, size), **changed}))
    return root


def masks_of(root, *shapes):
    return LabelMe(one(root, *shapes), "train")[0].instances.masks


def test_a_square_of_20_pixels_has_400(tmp_path):
    masks = masks_of(tmp_path, shape("polygon", SQUARE))
    assert masks.sum() == 400
    assert masks[0, 10:30, 10:30].all()


def test_a_rectangle_may_be_drawn_from_any_corner(tmp_path):
    masks = masks_of(tmp_path, shape("rectangle", [[30, 10], [10, 30]]), shape("rectangle", [[10, 10], [30, 30]]))
    assert masks.sum((1, 2)).tolist() == [400, 400]
    assert masks[:, 10:30, 10:30].all()


def test_a_rectangle_may_be_turned(tmp_path):
    masks = masks_of(tmp_path, shape("oriented_rectangle", [[20, 10], [30, 20], [20, 30], [10, 20]]))
    assert masks[0, 20, 11:29].all()
    assert masks.sum() == pytest.approx(200, abs=10)


def test_a_circle_is_its_centre_and_a_point_on_it(tmp_path):
    masks = masks_of(tmp_path, shape("circle", [[20, 20], [20, 30]]))
    y, x = np.mgrid[:48, :64] + 0.5
    distance = np.hypot(y - 20, x - 20)
    assert masks[0][distance < 9.5].all()
    assert not masks[0][distance > 10.5].any()
    assert masks.sum() == pytest.approx(np.pi * 100, rel=0.02)


def test_a_mask_is_between_two_pixels_that_it_includes(tmp_path):
    crop = np.zeros((3, 4), bool)
    crop[0, 0] = crop[2, 1:3] = True
    masks = masks_of(tmp_path, shape("mask", [[10, 20], [13, 22]], mask=png_of(crop)))
    assert np.argwhere(masks[0]).tolist() == [[20, 10], [22, 11], [22, 12]]


def test_a_mask_of_the_whole_image(tmp_path):
    assert masks_of(tmp_path, shape("mask", [[0, 0], [63, 47]], mask=png_of(np.ones((48, 64))))).all()


def test_shapes_of_one_label_and_group_are_one_object(tmp_path):
    square, far = [[1, 1], [3, 1], [3, 3], [1, 3]], [[50, 40], [52, 40], [52, 42], [50, 42]]
    dataset = LabelMe(
        one(
            tmp_path,
            shape("polygon", square, "b", group=1),
            shape("polygon", far, "a", group=1),
            shape("polygon", far, "b", group=1),
            shape("mask", [[20, 20], [21, 20]], "b", group=1, mask=png_of(np.ones((1, 2)))),
            shape("polygon", square, "b"),
            shape("polygon", far, "b"),
        ),
        "train",
    )
    objects = dataset[0].instances
    assert dataset.info.classes == ("a", "b")
    assert objects.labels.tolist() == [1, 0, 1, 1]
    assert objects.masks.sum((1, 2)).tolist() == [10, 4, 4, 4]
    assert objects.boxes[0].tolist() == [1, 1, 52, 42]


def test_points_and_lines_are_left_out_and_counted(tmp_path):
    lines = [shape("line", [[0, 0], [5, 5]]), shape("point", [[3, 3]]), shape("linestrip", SQUARE)]
    dataset = LabelMe(one(tmp_path, shape("polygon", SQUARE), *lines), "train")
    assert len(dataset[0].instances) == 1
    assert dataset.repairs == ("3 shapes without pixels, points or lines, left out (first: train/x.json, shape 2)",)


def test_classes_are_those_of_all_splits(tmp_path):
    write_labelme(tmp_path)
    path = tmp_path / "val" / "0100.json"
    path.write_text(path.read_text().replace('"stop sign"', '"a new one"'))
    assert LabelMe(tmp_path, "train").info.classes == ("a new one", "person", "stop sign", "toothbrush")
    chosen = LabelMe(tmp_path, "train", choice=ClassChoice(classes=["toothbrush", "person"]))
    assert chosen.info.classes == ("toothbrush", "person")
    assert chosen[0].instances.labels.tolist() == [1, 0, 1]
    with pytest.raises(ConfigError, match=r"data.classes names 'Person'"):
        LabelMe(tmp_path, "train", choice=ClassChoice(classes=["Person"]))


def test_painted_shapes_lie_over_earlier_ones(tmp_path):
    one(
        tmp_path,
        shape("rectangle", [[0, 0], [20, 20]], "cat", group=1),
        shape("rectangle", [[10, 10], [30, 30]], "dog"),
        shape("rectangle", [[25, 25], [40, 40]], "cat", group=1),
        shape("rectangle", [[0, 0], [2, 2]], "_background_"),
        shape("rectangle", [[60, 0], [64, 48]], "__ignore__"),
    )
    dataset = LabelMe(tmp_path, "train", semantic=True)
    assert dataset.info.classes == ("background", "cat", "dog")
    expected = np.zeros((48, 64), np.uint8)
    expected[:20, :20] = 1
    expected[10:30, 10:30] = 2
    expected[25:40, 25:40] = 1
    expected[:2, :2] = 0
    expected[:, 60:] = 255
    np.testing.assert_array_equal(dataset[0].label_map, expected)
    np.testing.assert_array_equal(dataset.labels(0), expected)
    objects = LabelMe(tmp_path, "train")
    assert objects.info.classes == ("cat", "dog")
    assert len(objects[0].instances) == 2
    assert "1 shape labelled __ignore__ left out (first: train/x.json, shape 5)" in objects.repairs


def test_the_one_class_that_is_chosen_is_painted_with_what_is_ignored(tmp_path):
    one(
        tmp_path,
        shape("rectangle", [[0, 0], [20, 20]], "cat"),
        shape("rectangle", [[10, 10], [30, 30]], "dog"),
        shape("rectangle", [[60, 0], [64, 48]], "__ignore__"),
    )
    dataset = LabelMe(tmp_path, "train", semantic=True, choice=ClassChoice(classes=["dog"]))
    assert dataset.info.classes == ("background", "dog")
    assert np.unique(dataset[0].label_map, return_counts=True)[1].tolist() == [3072 - 400 - 192, 400, 192]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (
            shape("mask", [[10, 20], [14, 22]], mask=png_of(np.ones((3, 4)))),
            r"a mask of 3x4, and its corners.* 3x5 pixels",
        ),
        (shape("mask", [[10, 20], [13, 22]], mask="AAAA"), "a mask that is no PNG in base64"),
        (shape("mask", [[10, 20], [13, 22]], mask="%"), "a mask that is no PNG in base64"),
        (shape("mask", [[10, 20], [13, 22]], mask=png_of(np.ones((3, 4)))[:60]), "a mask that is no PNG in base64"),
        (shape("mask", [[10, 20], [13, 22]]), "a mask that is no PNG in base64"),
        (shape("mask", [[62, 20], [65, 22]], mask=png_of(np.ones((3, 4)))), "reaches out of its image of 48x64"),
        (shape("rectangle", SQUARE), "is a rectangle of 4 points, not of 2"),
        (shape("polygon", [[1, 2], [3]]), "points that are no pairs of numbers"),
        (shape("polygon", None), "points that are no pairs of numbers"),
        (shape("star", SQUARE), "is a 'star'"),
        (shape("polygon", SQUARE, ""), "has no label"),
        (shape("polygon", [[1, 2], [3, 4], ["NaN", 5]]), "coordinate nan"),
    ],
)
def test_shapes_that_make_no_sense_are_named(tmp_path, broken, said):
    one(tmp_path, shape("polygon", SQUARE), broken)
    with pytest.raises(DatasetError, match=f"train/x.json.*shape 2.*{said}"):
        LabelMe(tmp_path, "train")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"imageHeight": 40}, "x.json is of an image of 40x64, and .*x.png has 48x64"),
        ({"imagePath": "..\\images\\y.png"}, "x.json is of the image y.png by its imagePath"),
        ({"shapes": None}, "is no file of LabelMe"),
    ],
)
def test_a_json_of_another_image_is_refused(tmp_path, changed, said):
    with pytest.raises(DatasetError, match=said):
        LabelMe(one(tmp_path, shape("polygon", SQUARE), **changed), "train")


def test_the_path_of_an_image_may_be_of_another_folder_and_system(tmp_path):
    one(tmp_path, shape("polygon", SQUARE), imagePath="..\\images\\X.JPG", imageHeight=None, imageWidth=None)
    assert len(LabelMe(tmp_path, "train")) == 1


def test_an_image_on_its_side_is_annotated_upright(tmp_path):
    one(tmp_path, shape("polygon", SQUARE), imageHeight=64, imageWidth=48)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "train" / "x.png", exif=exif)
    assert LabelMe(tmp_path, "train")[0].instances.masks.shape == (1, 64, 48)


def test_jsons_may_lie_in_a_folder_of_their_own(tmp_path):
    for folder in ("images", "jsons"):
        (tmp_path / folder).mkdir()
    write_labelme(tmp_path / "made")
    for path in sorted((tmp_path / "made").rglob("*.*")):
        path.rename(tmp_path / ("jsons" if path.suffix == ".json" else "images") / path.name)
    options = {"images": "images", "annotations": "jsons", "val_fraction": 0.5}
    splits = [LabelMe(tmp_path, split, files=AnnotationFiles(**options)) for split in ("train", "val")]
    assert sorted(sample.id for dataset in splits for sample in dataset) == [
        "0000",
        "0001",
        "0002",
        "0100",
        "0101",
        "0102",
    ]


def test_an_image_without_a_json_is_not_passed_over(tmp_path):
    write_labelme(tmp_path)
    (tmp_path / "train" / "0001.json").unlink()
    said = (
        r"1 of 3 images in the split 'train' .* no annotation file.*0001.png\.\nSet data.without_annotation=leave_out"
    )
    with pytest.raises(DatasetError, match=said):
        LabelMe(tmp_path, "train")
    left, empty = (
        LabelMe(tmp_path, "train", files=AnnotationFiles(without_annotation=policy))
        for policy in ("leave_out", "empty")
    )
    assert [len(sample.instances) for sample in left] == [4, 0]
    assert [len(sample.instances) for sample in empty] == [4, 0, 0]
    assert "1 image without annotations left out (first: 0001.png)" in left.repairs
    assert "1 image without annotations taken to show no object (first: 0001.png)" in empty.repairs
    for path in (tmp_path / "train").glob("*.json"):
        path.unlink()
    with pytest.raises(DatasetError, match=r"3 of 3 images .* no annotation file"):
        LabelMe(tmp_path, "train", files=AnnotationFiles(without_annotation="empty"))
    with pytest.raises(DatasetNotFoundError, match="There is no folder"):
        LabelMe(tmp_path / "nowhere", "train")
