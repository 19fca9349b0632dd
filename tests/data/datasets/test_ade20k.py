import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.ade20k import ADE20K
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.structures import Segment
from tests.contracts.dataset import DatasetContract
from tests.data.official import write_ade20k, write_ade20k_instances


class TestADE20K(DatasetContract):
    def make(self, root):
        return ADE20K(write_ade20k(root), "train")


class TestValFromItsOwnFolder(DatasetContract):
    def make(self, root):
        return ADE20K(write_ade20k(root) / "ADEChallengeData2016", "val")


class TestPanoptic(DatasetContract):
    def make(self, root):
        return ADE20K(write_ade20k_instances(root), "val", panoptic=True)


def masks_of(root, split="training"):
    return root / "ADEChallengeData2016" / "annotations" / split


def test_the_classes_are_those_of_the_benchmark(tmp_path):
    info = ADE20K(write_ade20k(tmp_path), "train").info
    assert len(info.classes) == 150
    assert info.classes[:3] == ("wall", "building", "sky")
    assert info.classes[-2:] == ("clock", "flag")
    assert info.palette[:2] == ((120, 120, 120), (180, 120, 120))
    assert info.palette[-1] == (92, 0, 255)


def test_zero_is_ignored_and_other_numbers_are_classes_less_one(tmp_path):
    write_ade20k(tmp_path)
    mask = masks_of(tmp_path) / "ADE_train_00000001.png"
    stored = np.asarray(Image.open(mask)).copy()
    stored[0, :4] = (0, 1, 2, 150)
    Image.fromarray(stored).save(mask)
    label_map = ADE20K(tmp_path, "train")[0].label_map
    assert label_map[0, :4].tolist() == [255, 0, 1, 149]
    np.testing.assert_array_equal(label_map, np.where(stored == 0, 255, stored.astype(int) - 1))


def test_splits_are_the_folders_training_and_validation(tmp_path):
    write_ade20k(tmp_path, count=2)
    assert [sample.id for sample in ADE20K(tmp_path, "val")] == ["ADE_val_00000001", "ADE_val_00000002"]
    with pytest.raises(ConfigError, match=r"(?s)ade20k has no split 'vall'.*Did you mean val\?"):
        ADE20K(tmp_path, "vall")


def test_a_missing_tree_says_what_was_looked_for_where_and_how_to_get_it(tmp_path):
    with pytest.raises(DatasetNotFoundError) as raised:
        ADE20K(tmp_path, "train")
    assert f"not in {tmp_path}: there is no ADEChallengeData2016/images/training and no" in raised.value.what
    assert "data.download=true" in raised.value.mend
    assert "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip" in raised.value.mend
    assert "data.root=" in raised.value.mend


def test_of_a_tree_that_is_there_in_part_the_missing_part_is_named(tmp_path):
    write_ade20k(tmp_path)
    masks_of(tmp_path).rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetNotFoundError, match=r"there is no ADEChallengeData2016/annotations/training\.\n"):
        ADE20K(tmp_path, "train")


def test_images_without_a_mask_are_named_and_counted(tmp_path):
    write_ade20k(tmp_path)
    for number in (2, 3):
        (masks_of(tmp_path) / f"ADE_train_0000000{number}.png").unlink()
    with pytest.raises(DatasetError, match=r"ADE_train_00000002.jpg has no mask .*00000002.png, and 1 more have none"):
        ADE20K(tmp_path, "train")


def test_an_empty_folder_is_named(tmp_path):
    for path in (write_ade20k(tmp_path) / "ADEChallengeData2016" / "images" / "training").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"no .jpg in .*images/training"):
        ADE20K(tmp_path, "train")


@pytest.mark.parametrize(("number", "dtype"), [(151, np.uint8), (255, np.uint8), (300, np.uint16), (65535, np.uint16)])
def test_a_number_that_is_no_class_is_named_with_its_first_pixel(tmp_path, number, dtype):
    write_ade20k(tmp_path)
    stored = np.ones((36, 48), dtype)
    stored[5, 7] = stored[20, 3] = number
    Image.fromarray(stored).save(masks_of(tmp_path) / "ADE_train_00000002.png")
    with pytest.raises(DatasetError, match=rf"00000002.png holds the number {number}, first at \(x=7, y=5\)"):
        ADE20K(tmp_path, "train").verify(1)


def test_a_colour_picture_is_refused_with_the_right_file(tmp_path):
    write_ade20k(tmp_path)
    Image.new("RGB", (48, 36)).save(masks_of(tmp_path) / "ADE_train_00000001.png")
    with pytest.raises(DatasetError) as raised:
        ADE20K(tmp_path, "train").verify(0)
    assert "ADE_train_00000001.png is a picture of RGB mode" in raised.value.what
    assert "annotations/ of ADEChallengeData2016.zip" in raised.value.mend
    assert "classes.txt" not in raised.value.mend


def test_a_mask_of_another_size_is_named(tmp_path):
    write_ade20k(tmp_path)
    Image.new("L", (36, 48), 1).save(masks_of(tmp_path) / "ADE_train_00000001.png")
    with pytest.raises(DatasetError, match=r"00000001.png is 48x36, its image .*00000001.jpg 36x48"):
        ADE20K(tmp_path, "train").verify(0)


def instances_of(root, coded=None):
    """The file of the first image's instances, written if `coded`."""
    path = root / "ADEChallengeData2016" / "annotations_instance" / "training" / "ADE_train_00000001.png"
    if coded is not None:
        Image.fromarray(np.array(coded, np.uint8)).save(path)
    return path


def test_things_lie_over_stuff_and_things_of_the_mask_alone_are_void(tmp_path):
    write_ade20k_instances(tmp_path)
    mask = masks_of(tmp_path) / "ADE_train_00000001.png"
    stored = np.full((36, 48), 1, np.uint8)  # wall
    stored[:, 24:] = 13  # person
    stored[30:] = 0
    Image.fromarray(stored).save(mask)
    coded = np.zeros((36, 48, 3), np.uint8)
    coded[:10, 20:30] = (4, 7, 0)
    coded[20:22, 40:44] = (4, 255, 0)
    coded[34:, :4] = (100, 1, 0)
    coded[:3, :3] = (4, 0, 0)  # a class without an object
    instances_of(tmp_path, coded)
    dataset = ADE20K(tmp_path, "train", panoptic=True)
    sample = dataset[0]
    person, flag = (dataset.info.classes.index(name) for name in ("person", "flag"))
    assert sample.panoptic.segments == (
        Segment(1, 0), Segment(151, flag), Segment(157, person), Segment(405, person)
    )  # fmt: skip
    expected = np.where(stored == 1, 1, 0)
    expected[:10, 20:30], expected[20:22, 40:44], expected[34:, :4] = 157, 405, 151
    np.testing.assert_array_equal(sample.panoptic.ids, expected)
    np.testing.assert_array_equal(sample.label_map, np.where(stored == 0, 255, stored.astype(int) - 1))


def test_100_classes_are_things_in_the_order_of_the_instances(tmp_path):
    info = ADE20K(write_ade20k_instances(tmp_path), "train", panoptic=True).info
    assert len(info.things) == 100
    names = [info.classes[label] for label in info.things]
    assert names[:5] == ["bed", "windowpane", "cabinet", "person", "door"]
    assert names[-1] == "flag"
    assert not {"wall", "sky", "road", "stairway"} & set(names)
    assert ADE20K(tmp_path, "train").info.things == ()


@pytest.mark.parametrize(
    ("colours", "said"),
    [
        (
            ((101, 1, 0), (101, 1, 0)),
            r"the object 1, first at \(x=0, y=0\), which is of the class 101, and there are 1",
        ),
        (((0, 1, 0), (0, 1, 0)), r"which is of the class 0"),
        (((4, 1, 0), (5, 1, 0)), r"the object 1, first at \(x=0, y=18\), which is of another class elsewhere"),
    ],
)
def test_objects_of_no_class_or_two_are_named(tmp_path, colours, said):
    write_ade20k_instances(tmp_path)
    instances_of(tmp_path, np.repeat(np.array(colours), 18, axis=0)[:, None].repeat(48, axis=1))
    with pytest.raises(DatasetError, match=rf"(?s)ADE_train_00000001.png has .*{said}.*annotations_instance.tar"):
        ADE20K(tmp_path, "train", panoptic=True).verify(0)


def test_missing_instances_say_where_to_get_them(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"(?s)annotations_instance/training.*annotations_instance.tar"):
        ADE20K(write_ade20k(tmp_path), "train", panoptic=True)


def test_wrong_instances_are_named(tmp_path):
    path = instances_of(write_ade20k_instances(tmp_path))
    dataset = ADE20K(tmp_path, "train", panoptic=True)
    Image.open(path).crop((0, 0, 40, 36)).save(path)
    with pytest.raises(DatasetError, match=r"annotations_instance/.*png is 36x40, its image .* 36x48"):
        dataset.verify(0)
    path.unlink()
    with pytest.raises(DatasetError, match=r"ADE_train_00000001.jpg has no instances .*annotations_instance/training"):
        dataset.verify(0)
