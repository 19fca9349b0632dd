import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.coco_stuff import CATEGORIES, CocoStuff
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.official import write_coco_stuff


class TestCocoStuff(DatasetContract):
    def make(self, root):
        return CocoStuff(write_coco_stuff(root), "train")


class TestTheFoldersOfTheAuthorsInstructions(DatasetContract):
    def make(self, root):
        return CocoStuff(write_coco_stuff(root, images="images", masks="annotations"), "val")


def mask_of(root):
    return root / "stuffthingmaps" / "train2017" / "000000000001.png"


def test_category_ids_less_one_become_171_classes_without_gaps(tmp_path):
    write_coco_stuff(tmp_path)
    dataset = CocoStuff(tmp_path, "train")
    assert len(dataset.info.classes) == len(CATEGORIES) == 171
    # pixel -> class as mmseg's coco_stuff164k maps it, at the ends of every run without a gap
    published = {
        0: 0, 10: 10, 12: 11, 24: 23, 26: 24, 27: 25, 30: 26, 43: 39, 45: 40, 64: 59, 66: 60, 69: 61, 71: 62, 81: 72,
        83: 73, 89: 79, 91: 80, 181: 170, 255: 255,
    }  # fmt: skip
    stored = np.resize(np.array(list(published), np.uint8), (36, 48))
    Image.fromarray(stored).save(mask_of(tmp_path))
    np.testing.assert_array_equal(dataset[0].label_map, np.vectorize(published.get)(stored))


def test_names_belong_to_their_ids(tmp_path):
    info = CocoStuff(write_coco_stuff(tmp_path), "train").info
    of = dict(zip(CATEGORIES, info.classes, strict=True))
    named = {1: "person", 13: "stop sign", 27: "backpack", 90: "toothbrush", 92: "banner", 106: "clouds", 182: "wood"}
    assert {category: of[category] for category in named} == named
    assert info.things == tuple(range(80))


@pytest.mark.parametrize("number", [11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90, 182, 254])
def test_ids_that_were_never_annotated_are_refused(tmp_path, number):
    write_coco_stuff(tmp_path)
    stored = np.zeros((36, 48), np.uint8)
    stored[2, 1] = number
    Image.fromarray(stored).save(mask_of(tmp_path))
    with pytest.raises(DatasetError, match=rf"(?s)number {number}, first at \(x=1, y=2\).*converted to train ids"):
        CocoStuff(tmp_path, "train").verify(0)


def test_a_wrong_split_is_told_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)'train2017'.*Did you mean train\?"):
        CocoStuff(write_coco_stuff(tmp_path), "train2017")


def test_a_missing_tree_says_what_was_looked_for_where_and_how_to_get_it(tmp_path):
    with pytest.raises(DatasetNotFoundError) as raised:
        CocoStuff(tmp_path, "val")
    assert f"not in {tmp_path}: there is no val2017 and no stuffthingmaps/val2017." in raised.value.what
    for part in ("data.download=true", "stuffthingmaps_trainval2017.zip", "val2017.zip", "data.root="):
        assert part in raised.value.mend


def test_an_image_without_its_mask_is_named(tmp_path):
    write_coco_stuff(tmp_path)
    mask_of(tmp_path).unlink()
    with pytest.raises(
        DatasetError, match=r"000000000001.jpg has no mask .*stuffthingmaps/train2017/000000000001.png\.\n"
    ):
        CocoStuff(tmp_path, "train")


def test_a_colour_picture_is_refused(tmp_path):
    write_coco_stuff(tmp_path)
    Image.new("RGB", (48, 36)).save(mask_of(tmp_path))
    with pytest.raises(
        DatasetError, match=r"(?s)000000000001.png is a picture of RGB mode.*stuffthingmaps_trainval2017"
    ):
        CocoStuff(tmp_path, "train").verify(0)
