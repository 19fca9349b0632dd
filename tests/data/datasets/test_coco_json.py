import json
import pickle

import numpy as np
import pytest

from coatseg.data.annotations.classes import check_same_classes
from coatseg.data.datasets.coco_json import CocoJson, HashedSplits
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.registry.options import construct
from tests.contracts.dataset import DatasetContract
from tests.data.objects import PLACES, coco_content, write_coco, write_coco_json

OF_SPLITS = {
    "annotations": {"train": "annotations/instances_train2017.json", "val": "annotations/instances_val2017.json"},
    "images": {"train": "train2017", "val": "val2017"},
}


class TestCocoJson(DatasetContract):
    def make(self, root):
        return CocoJson(write_coco_json(root), "train", splits=HashedSplits(val_fraction=0.5))


class TestCocoJsonOfSplits(DatasetContract):
    def make(self, root):
        return CocoJson(write_coco(root), "val", **OF_SPLITS)


class TestWindows(DatasetContract):
    def make(self, root):
        return CocoJson(write_coco(root), "train", **OF_SPLITS, window=(24, 40), windows_per_image=2)


class TestPainted(DatasetContract):
    def make(self, root):
        return CocoJson(write_coco(root), "val", **OF_SPLITS, semantic=True)


def ids(dataset):
    return [dataset[index].id for index in range(len(dataset))]


def test_one_json_is_split_by_a_hash_of_the_images(tmp_path):
    write_coco_json(tmp_path, count=20)
    train, val = (CocoJson(tmp_path, split, splits=HashedSplits(val_fraction=0.3)) for split in ("train", "val"))
    assert sorted([*ids(train), *ids(val)], key=int) == [str(number) for number in range(1, 21)]
    assert 1 < len(val) < 12
    other_order = coco_content(20)
    other_order["images"].reverse()
    (tmp_path / "annotations.json").write_text(json.dumps(other_order))
    assert ids(CocoJson(tmp_path, "val", splits=HashedSplits(val_fraction=0.3))) == ids(val)[::-1]
    folds = [
        ids(CocoJson(tmp_path, "val", splits=HashedSplits(split_by="fold", fold=fold, folds=2))) for fold in range(2)
    ]
    assert sorted(folds[0] + folds[1], key=int) == [str(number) for number in range(1, 21)]


def test_objects_stay_with_their_images(tmp_path):
    write_coco_json(tmp_path)
    for split in ("train", "val"):
        dataset = CocoJson(tmp_path, split, splits=HashedSplits(val_fraction=0.5))
        assert [len(dataset[index].instances) for index in range(len(dataset))] == [
            0 if name == "6" else 4 for name in ids(dataset)
        ]


def test_a_json_for_each_split(tmp_path):
    write_coco(tmp_path)
    train, val = (CocoJson(tmp_path, split, **OF_SPLITS) for split in ("train", "val"))
    assert (ids(train), ids(val)) == (["1", "2", "3"], ["101", "102", "103"])
    assert train.info == val.info
    assert train.info.name == tmp_path.name


def test_categories_that_differ_between_splits_are_refused(tmp_path):
    path = write_coco(tmp_path) / OF_SPLITS["annotations"]["val"]
    content = json.loads(path.read_text())
    content["categories"].reverse()
    path.write_text(json.dumps(content))
    train, val = (CocoJson(tmp_path, split, **OF_SPLITS).info for split in ("train", "val"))
    with pytest.raises(DatasetError, match=r"The val split of .* has other classes .*, or has them in another order"):
        check_same_classes(train, val, "val")


def rewritten(root, change):
    """Write six images and their json, each of its annotations changed."""
    path = write_coco_json(root) / "annotations.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        change(annotation)
    path.write_text(json.dumps(content))


def flat(annotation):
    if annotation["id"] in (10, 30, 31):
        annotation["bbox"][2] = 0
        annotation["segmentation"] = [[1, 2, 1, 9, 1, 4]]
    if annotation["id"] == 20:
        annotation["segmentation"] = [[1, 2, 3, 4]]


def test_what_mends_is_said_of_the_own_split_s_images(tmp_path):
    rewritten(tmp_path, flat)
    train, val = (CocoJson(tmp_path, split, splits=HashedSplits(val_fraction=0.5)) for split in ("train", "val"))
    assert ids(train) == ["3"]
    assert train.repairs == ("2 boxes without area left out (first: annotation 30)",)
    assert val.repairs == (
        "1 box without area left out (first: annotation 10)",
        "1 polygon of fewer than three points left out (first: annotation 20)",
    )
    assert pickle.loads(pickle.dumps(train)).repairs == train.repairs


def test_an_object_without_a_mask_is_said_of_both_splits(tmp_path):
    def bare(annotation):
        if annotation["image_id"] == 1:  # which is in val
            del annotation["segmentation"]

    rewritten(tmp_path, bare)
    for split in ("train", "val"):
        dataset = CocoJson(tmp_path, split, splits=HashedSplits(val_fraction=0.5))
        assert dataset.info.annotates == {"boxes"}
        assert dataset.repairs == (
            "4 objects without a mask, so that the masks of the others are not used: see data.without_mask "
            "(first: annotation 10)",
        )


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"annotations": "gone.json"}, DatasetNotFoundError, r"There is no .*gone.json"),
        ({"images": "gone"}, DatasetNotFoundError, r"There is no .*gone"),
        ({"annotations": "images"}, DatasetNotFoundError, r"images is no file"),
        ({"images": "annotations.json"}, DatasetNotFoundError, r"annotations.json is no folder"),
        ({"split_by": "folds"}, ConfigError, r"(?s)data.split_by=folds is no way.*Did you mean fold\?"),
        ({"val_fraction": 1.5}, ConfigError, r"data.val_fraction=1.5 is no share"),
        ({"split_by": "fold", "folds": 1}, ConfigError, r"data.fold=0 of data.folds=1 cannot be"),
        ({"val_fraction": 1e-9}, DatasetError, r"The split 'val' of .*annotations.json has no image"),
        ({"images": {"val": "images"}}, ConfigError, r"data.images has a folder for each split"),
        ({"annotations": {"vall": "annotations.json"}}, ConfigError, r"(?s)nothing for the split 'val'.*mean vall\?"),
    ],
)
def test_options_that_cannot_be(tmp_path, options, error, said):
    write_coco_json(tmp_path)
    with pytest.raises(error, match=said):
        construct(CocoJson, options, root=tmp_path, split="val")


@pytest.mark.parametrize(("split", "said"), [("test", "Choices: train, val"), ("vall", r"Did you mean val\?")])
def test_a_hash_makes_no_third_split(tmp_path, split, said):
    with pytest.raises(
        ConfigError, match=rf"(?s)split into train and val, not '{split}'.*{said}.*data.annotations.test=FILE"
    ):
        CocoJson(write_coco_json(tmp_path), split)


def test_windows_cut_polygons_run_lengths_and_crowds(tmp_path):
    write_coco(tmp_path)
    whole = CocoJson(tmp_path, "train", **OF_SPLITS)
    windows = CocoJson(tmp_path, "train", **OF_SPLITS, window=(24, 40), windows_per_image=4)
    for index in range(8):
        sample, truth = windows[index], whole[index % 3]
        y, x = map(int, sample.id.partition("@")[2].split(","))
        masks = truth.instances.masks[:, y : y + 24, x : x + 40]
        seen = masks.any((1, 2))
        np.testing.assert_array_equal(sample.instances.masks, masks[seen])
        np.testing.assert_array_equal(sample.instances.crowd, truth.instances.crowd[seen])


def test_what_is_painted_does_not_depend_on_the_stated_boxes(tmp_path):
    rewritten(tmp_path, lambda annotation: annotation.update(bbox=[0, 0, 3, 3]))
    whole, painted = (CocoJson(tmp_path, "train", semantic=semantic) for semantic in (False, True))
    np.testing.assert_array_equal(painted[0].label_map > 0, whole[0].instances.masks.any(0))
    windows = CocoJson(tmp_path, "train", window=(48, 64))
    np.testing.assert_array_equal(windows[0].instances.masks, whole[0].instances.masks)


def test_windows_of_boxes_alone_clip_them(tmp_path):
    rewritten(tmp_path, lambda annotation: annotation.pop("segmentation"))
    dataset = CocoJson(tmp_path, "train", window=(20, 20))
    sample = next(sample for sample in dataset if len(sample.instances))
    y, x = map(int, sample.id.partition("@")[2].split(","))
    clipped = np.clip(np.array(PLACES) - [x, y, x, y], 0, 20)
    np.testing.assert_array_equal(sample.instances.boxes, clipped[(clipped[:, :2] < clipped[:, 2:]).all(1)])
    assert sample.instances.masks is None


@pytest.mark.parametrize("name", ["{}", "image {}"], ids=["numbers", "texts"])
def test_ids_of_images_may_be_texts_and_all_may_count_from_0(tmp_path, name):
    write_coco_json(tmp_path, count=4)
    path = tmp_path / "annotations.json"
    before = CocoJson(tmp_path, "train", splits=HashedSplits(val_fraction=0.3))
    content = json.loads(path.read_text())
    renamed = {image["id"]: name.format(place) for place, image in enumerate(content["images"])}
    if name == "{}":
        renamed = {old: int(new) for old, new in renamed.items()}
    numbers = {category["id"]: place for place, category in enumerate(content["categories"])}
    for image in content["images"]:
        image["id"] = renamed[image["id"]]
    for category in content["categories"]:
        category["id"] = numbers[category["id"]]
    for place, annotation in enumerate(content["annotations"]):
        annotation["id"] = place
        annotation["image_id"] = renamed[annotation["image_id"]]
        annotation["category_id"] = numbers[annotation["category_id"]]
    path.write_text(json.dumps(content))
    after = CocoJson(tmp_path, "train", splits=HashedSplits(val_fraction=0.3))
    assert ids(after) == [str(renamed[int(old)]) for old in ids(before)]
    assert after.info.classes == before.info.classes
    for index in range(len(before)):
        np.testing.assert_array_equal(after[index].instances.labels, before[index].instances.labels)
        np.testing.assert_array_equal(after[index].instances.masks, before[index].instances.masks)
