import numpy as np
import pytest
from PIL import Image

from coatseg.data.annotations.objects.options import ClassChoice
from coatseg.data.datasets.cityscapes import Cityscapes
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.structures import Segment
from tests.contracts.dataset import DatasetContract
from tests.data.official import TRAIN_IDS, write_cityscapes, write_cityscapes_instances


class TestCityscapes(DatasetContract):
    def make(self, root):
        return Cityscapes(write_cityscapes(root), "train")


class TestTrainIds(DatasetContract):
    def make(self, root):
        return Cityscapes(write_cityscapes(root, masks="labelTrainIds", stored=TRAIN_IDS), "val")


class TestLabelledTest(DatasetContract):
    def make(self, root):
        return Cityscapes(write_cityscapes(root / "cityscapes", test=(7, 26)).parent, "test")


class TestInstances(DatasetContract):
    def make(self, root):
        return Cityscapes(write_cityscapes_instances(root), "val", instances=True)


class TestPanoptic(DatasetContract):
    def make(self, root):
        return Cityscapes(write_cityscapes_instances(root), "val", panoptic=True, instances=True)


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


def write_ids(root, *, kind="labelIds"):
    """Write one image whose ids are known: a group of persons, two cars, a caravan, road."""
    write_cityscapes(root, masks=kind, stored=(0, 1))
    ids = np.full((36, 48), 7, np.uint16)
    ids[2:6, 3:9] = 24
    ids[10:12, 10:20] = 26000
    ids[10:12, 30:40] = 26001
    ids[20:22, 0:4] = 29000
    Image.fromarray(ids).save(mask_of(root, kind="instanceIds"))
    return root


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds"])
def test_instances_are_things_and_groups_of_them_are_crowd(tmp_path, kind):
    dataset = Cityscapes(write_ids(tmp_path, kind=kind), "train", instances=True)
    instances = dataset[0].instances
    assert [dataset.info.classes[label] for label in instances.labels] == ["person", "car", "car"]
    assert instances.crowd.tolist() == [True, False, False]
    assert instances.boxes.tolist() == [[3, 2, 9, 6], [10, 10, 20, 12], [30, 10, 40, 12]]
    assert instances.masks.sum((1, 2)).tolist() == [24, 20, 20]
    assert dataset.info.annotates == {"semantic", "boxes", "instances"}
    assert dataset.info.category_ids[13] == 26


def test_instances_are_not_read_unasked(tmp_path):
    dataset = Cityscapes(write_cityscapes(tmp_path), "train")
    assert dataset.info.annotates == {"semantic"}
    assert dataset[0].instances is None


def test_wrong_instances_are_named(tmp_path):
    path = mask_of(write_ids(tmp_path), kind="instanceIds")
    dataset = Cityscapes(tmp_path, "train", instances=True)
    ids = np.array(Image.open(path))
    ids[30, 40] = 34000
    Image.fromarray(ids).save(path)
    with pytest.raises(DatasetError, match=r"instanceIds.png has the instance 34000, near \(x=40, y=30\), which City"):
        dataset.verify(0)
    Image.fromarray(ids[:-1]).save(path)
    with pytest.raises(DatasetError, match=r"instanceIds.png is 35x48, its image .* 36x48"):
        dataset.verify(0)
    path.unlink()
    with pytest.raises(DatasetError, match=r"(?s)has no instances .*instanceIds.png.*leave data.instances out"):
        dataset.verify(0)


def test_segments_are_those_that_createpanopticimgs_makes(tmp_path):
    dataset = Cityscapes(write_ids(tmp_path, kind="labelTrainIds"), "train", panoptic=True)
    sample = dataset[0]
    person, car = (dataset.info.classes.index(name) for name in ("person", "car"))
    assert sample.panoptic.segments == (
        Segment(7, 0), Segment(24, person, crowd=True), Segment(26000, car), Segment(26001, car)
    )  # fmt: skip
    ids = np.array(Image.open(mask_of(tmp_path, kind="instanceIds"))).astype(int)
    np.testing.assert_array_equal(sample.panoptic.ids, np.where(ids == 29000, 0, ids))  # a caravan is void
    assert sample.panoptic.ids.dtype == np.int32
    assert sample.label_map[20, 0] == 255
    np.testing.assert_array_equal(dataset.labels(0), sample.label_map)
    assert sample.instances is None
    assert dataset.info.annotates == {"semantic", "panoptic"}


def test_groups_of_all_things_are_said_for_segments_too(tmp_path):
    write_cityscapes_instances(tmp_path, ids=(7, 24, 26))
    dataset = Cityscapes(tmp_path, "train", panoptic=True)
    assert "no *_gtFine_instanceIds.png of the first 3 images holds an instance" in dataset.repairs[0]
    with pytest.raises(ConfigError, match=r"(?s)choose among the objects.*leave data.panoptic out"):
        Cityscapes(tmp_path, "train", instances=True, panoptic=True, choice=ClassChoice(leave_out=["car"]))
