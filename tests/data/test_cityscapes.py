import numpy as np
import pytest
from PIL import Image

from coatseg.data.cityscapes import Cityscapes
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.official import TRAIN_IDS, write_cityscapes


class TestCityscapes(DatasetContract):
    def make(self, root):
        return Cityscapes(write_cityscapes(root), "train")


class TestTrainIds(DatasetContract):
    def make(self, root):
        return Cityscapes(write_cityscapes(root, masks="labelTrainIds", stored=TRAIN_IDS), "val")


class TestLabelledTest(DatasetContract):
    def make(self, root):
        return Cityscapes(write_cityscapes(root / "cityscapes", test=(7, 26)).parent, "test")


# The published table of ids and train ids, from cityscapesScripts.
OF_IDS = [
    *[255] * 7, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255,
    6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255, 255, 16, 17, 18,
]  # fmt: skip


def mask_of(root, index=0, kind="labelIds"):
    return root / "gtFine" / "train" / "aachen" / f"aachen_{index:06d}_000019_gtFine_{kind}.png"


def test_the_34_ids_become_19_classes(tmp_path):
    write_cityscapes(tmp_path)
    stored = np.resize(np.arange(34, dtype=np.uint8), (36, 48))
    Image.fromarray(stored).save(mask_of(tmp_path))
    np.testing.assert_array_equal(Cityscapes(tmp_path, "train")[0].label_map, np.array(OF_IDS)[stored])


def test_train_ids_are_taken_as_they_are(tmp_path):
    write_cityscapes(tmp_path, masks="labelTrainIds", stored=TRAIN_IDS)
    sample = Cityscapes(tmp_path, "train")[0]
    np.testing.assert_array_equal(sample.label_map, np.asarray(Image.open(mask_of(tmp_path, kind="labelTrainIds"))))


def test_ids_go_before_train_ids(tmp_path):
    write_cityscapes(tmp_path)
    Image.new("L", (48, 36), 3).save(mask_of(tmp_path, kind="labelTrainIds"))
    Image.new("L", (48, 36), 26).save(mask_of(tmp_path))
    assert set(np.unique(Cityscapes(tmp_path, "train")[0].label_map)) == {13}


def test_facts(tmp_path):
    info = Cityscapes(write_cityscapes(tmp_path), "train").info
    assert len(info.classes) == 19
    assert info.palette[0] == (128, 64, 128)
    assert [info.classes[label] for label in info.things] == [
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"
    ]  # fmt: skip


def test_splits_and_ids(tmp_path):
    write_cityscapes(tmp_path, count=2)
    assert [sample.id for sample in Cityscapes(tmp_path, "val")] == [
        "frankfurt_000000_000019",
        "frankfurt_000001_000019",
    ]
    with pytest.raises(ConfigError, match=r"Did you mean train\?"):
        Cityscapes(tmp_path, "trian")


@pytest.mark.parametrize("download", [False, True])
def test_a_missing_tree_says_where_to_get_it_with_an_account(tmp_path, download):
    with pytest.raises(DatasetNotFoundError) as raised:
        Cityscapes(tmp_path, "train", download=download)
    assert str(tmp_path) in raised.value.what
    assert ("data.download=true cannot fetch it" if download else "leftImg8bit/train") in raised.value.what
    for part in ("cityscapes-dataset.com", "gtFine_trainvaltest.zip", "leftImg8bit_trainvaltest.zip", "data.root="):
        assert part in raised.value.mend
    assert "data.download=true" not in raised.value.mend


def test_the_test_split_without_public_labels_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"(?s)gtFine/test hold no class.*not public.*split=val"):
        Cityscapes(write_cityscapes(tmp_path), "test")


def test_a_missing_mask_is_named_and_the_coloured_one_is_not_taken(tmp_path):
    write_cityscapes(tmp_path)
    mask_of(tmp_path, 1).unlink()
    with pytest.raises(
        DatasetError, match=r"aachen_000001_000019_leftImg8bit.png has no mask .*_gtFine_labelIds.png\.\n"
    ):
        Cityscapes(tmp_path, "train")
    Image.new("RGB", (48, 36)).save(mask_of(tmp_path, 1, "color"))
    with pytest.raises(DatasetError, match=r"labelIds.png, only aachen_000001_000019_gtFine_color.png, a picture"):
        Cityscapes(tmp_path, "train")


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_coloured_mask_under_the_name_of_the_ids_is_refused(tmp_path, mode):
    write_cityscapes(tmp_path)
    Image.new(mode, (48, 36)).save(mask_of(tmp_path))
    with pytest.raises(DatasetError, match=rf"(?s)labelIds.png is a picture of {mode} mode.*\*_gtFine_color.png"):
        Cityscapes(tmp_path, "train").verify(0)


@pytest.mark.parametrize(("kind", "number"), [("labelIds", 34), ("labelTrainIds", 19), ("labelTrainIds", 33)])
def test_a_number_that_is_no_id_is_named_with_its_first_pixel(tmp_path, kind, number):
    write_cityscapes(tmp_path, masks=kind, stored=(0, 1))
    stored = np.zeros((36, 48), np.uint8)
    stored[3, 4] = number
    Image.fromarray(stored).save(mask_of(tmp_path, kind=kind))
    with pytest.raises(DatasetError, match=rf"{kind}.png holds the number {number}, first at \(x=4, y=3\)"):
        Cityscapes(tmp_path, "train").verify(0)


def test_a_split_without_images_is_told(tmp_path):
    for split in ("leftImg8bit/train", "gtFine/train"):
        (tmp_path / split).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"no CITY/\*_leftImg8bit.png in .*leftImg8bit/train"):
        Cityscapes(tmp_path, "train")
