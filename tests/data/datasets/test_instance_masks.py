import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.annotations.id_maps import masks_of, objects_of
from coatseg.data.datasets.instance_masks import InstanceMasks
from coatseg.data.trees.splits import Splits
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.objects import PLACES, SIZE, mask_of, write_instance_masks
from tests.data.rasters import write_tiff

PENN_FUDAN = ("PNGImages", "PedMasks")


class TestInstanceMasks(DatasetContract):
    def make(self, root):
        return InstanceMasks(write_instance_masks(root), "train")


class TestPennFudan(DatasetContract):
    def make(self, root):
        root = write_instance_masks(root, places=PENN_FUDAN)
        for mask in (root / "PedMasks").iterdir():
            mask.rename(mask.with_stem(f"{mask.stem}_mask"))
        names = {"images": "PNGImages", "masks": "PedMasks", "mask_ending": "_mask"}
        return InstanceMasks(root, "train", **names, classes=("person",))


class TestSeveralClasses(DatasetContract):
    def make(self, root):
        return InstanceMasks(write_instance_masks(root, ids=(1001, 2001, 2002, 1000)), "val", classes=("nut", "bolt"))


def test_objects_are_the_numbers_of_the_mask(tmp_path):
    dataset = InstanceMasks(write_instance_masks(tmp_path), "train", classes=("nucleus",))
    instances = dataset[0].instances
    np.testing.assert_array_equal(instances.boxes, np.array(PLACES, np.float32))
    np.testing.assert_array_equal(instances.masks, [mask_of(corners) for corners in PLACES])
    assert instances.labels.tolist() == [0, 0, 0, 0]
    assert not instances.crowd.any()
    assert instances.areas is None
    assert dataset.info.classes == ("nucleus",)
    assert dataset[2].instances.masks.shape == (0, *SIZE)


@pytest.mark.parametrize("ids", [(1, 2, 3, 255), (9, 256, 999, 65535)])
def test_numbers_may_have_8_or_16_bit_and_gaps(tmp_path, ids):
    instances = InstanceMasks(write_instance_masks(tmp_path, ids=ids), "train")[0].instances
    np.testing.assert_array_equal(instances.masks, [mask_of(corners) for corners in PLACES])


def test_of_several_classes_the_thousands_are_the_class(tmp_path):
    write_instance_masks(tmp_path, ids=(1001, 2001, 2999, 1000))
    instances = InstanceMasks(tmp_path, "train", classes=("nut", "bolt"))[0].instances
    assert instances.labels.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(instances.masks[0], mask_of(PLACES[3]))


@pytest.mark.parametrize("number", [999, 3000])
def test_a_number_of_no_class_is_named(tmp_path, number):
    write_instance_masks(tmp_path, ids=(1001, 2001, 2002, number))
    with pytest.raises(DatasetError, match=rf"0000.png has the object {number}, near \(x=36, y=26\), which is of no"):
        InstanceMasks(tmp_path, "train", classes=("nut", "bolt")).verify(0)


def test_without_splits_images_are_split_by_a_hash(tmp_path):
    write_instance_masks(tmp_path, count=10, places=("images", "masks"))
    train, val = (InstanceMasks(tmp_path, split, splits=Splits(val_fraction=0.4)) for split in ("train", "val"))
    assert len(train) + len(val) == 20
    assert 2 < len(val) < 14
    assert {train[index].id for index in range(len(train))}.isdisjoint(val[index].id for index in range(len(val)))


def test_an_object_in_two_parts_is_one():
    ids = np.zeros((6, 8), np.uint8)
    ids[0, 1] = ids[4, 5:7] = 7
    ids[2:4, 7] = 3
    found, boxes = objects_of(ids)
    assert found.tolist() == [3, 7]
    assert boxes.tolist() == [[7, 2, 8, 4], [1, 0, 7, 5]]
    np.testing.assert_array_equal(masks_of(ids, found, boxes), [ids == 3, ids == 7])


def test_objects_that_run_over_the_end_of_a_line_are_whole():
    ids = np.full((3, 4), 5, np.int32)
    assert objects_of(ids)[1].tolist() == [[0, 0, 4, 3]]
    ids[:, 1:] = 100_000
    assert objects_of(ids)[0].tolist() == [5, 100_000]
    assert objects_of(ids)[1].tolist() == [[0, 0, 1, 3], [1, 0, 4, 3]]
    assert objects_of(np.zeros((3, 4), np.uint8))[1].shape == (0, 4)


def test_random_maps_agree_with_looking_at_each_object():
    ids = np.random.default_rng(0).choice([0, 0, 0, 1, 2, 40], (20, 30))
    found, boxes = objects_of(ids)
    for number, (x1, y1, x2, y2) in zip(found, boxes, strict=True):
        rows, columns = np.nonzero(ids == number)
        assert [x1, y1, x2, y2] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_masks_without_an_image_are_left_out_and_counted(tmp_path):
    write_instance_masks(tmp_path)
    (tmp_path / "train" / "images" / "0001.png").unlink()
    train, val = (InstanceMasks(tmp_path, split) for split in ("train", "val"))
    assert (len(train), train.repairs) == (2, ("1 mask without an image left out (first: 0001.png)",))
    assert (len(val), val.repairs) == (3, ())
    (tmp_path / "train" / "images" / "0000.png").unlink()
    assert InstanceMasks(tmp_path, "train").repairs == ("2 masks without an image left out (first: 0000.png)",)


def test_a_mask_without_an_image_is_told_of_the_split_its_image_would_be_in(tmp_path):
    write_instance_masks(tmp_path, count=10, places=("images", "masks"))
    gone = InstanceMasks(tmp_path, "val", splits=Splits(val_fraction=0.4)).image_of(1)[1]
    gone.unlink()
    train, val = (InstanceMasks(tmp_path, split, splits=Splits(val_fraction=0.4)) for split in ("train", "val"))
    assert train.repairs == ()
    assert val.repairs == (f"1 mask without an image left out (first: {gone.name})",)


def test_what_is_wrong_with_a_mask_is_told(tmp_path):
    mask = write_instance_masks(tmp_path) / "train" / "masks" / "0000.png"
    Image.new("L", (32, 48)).save(mask)
    with pytest.raises(DatasetError, match=r"The mask .*0000.png is 48x32, its image .* 48x64"):
        InstanceMasks(tmp_path, "train").verify(0)
    Image.new("RGB", (64, 48)).save(mask)
    with pytest.raises(DatasetError, match=r"(?s)0000.png is a picture of RGB mode.*Save object numbers as"):
        InstanceMasks(tmp_path, "train").verify(0)
    mask.unlink()
    with pytest.raises(DatasetError, match=r"0000.png has no mask in"):
        InstanceMasks(tmp_path, "train")
    with pytest.raises(DatasetError, match=r"(?s)has no mask in .*Add .*0000_mask.png"):
        InstanceMasks(tmp_path, "train", mask_ending="_mask")


def test_what_cannot_be_is_told(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"(?s)There is no folder .*gone.*train/images, train/masks"):
        InstanceMasks(tmp_path / "gone", "train")
    with pytest.raises(DatasetError, match=r"has no split 'test'"):
        InstanceMasks(write_instance_masks(tmp_path), "test")
    with pytest.raises(ConfigError, match=r"data.classes=\[\] names no class"):
        InstanceMasks(tmp_path, "train", classes=())


def nuclei():
    return Path(os.environ.get("COATSEG_REAL_DATA", "")) / "nuclei_dsb2018"


@pytest.mark.real
class TestRealNuclei(DatasetContract):
    def make(self, root):
        return InstanceMasks(nuclei(), "val", classes=("nucleus",))


@pytest.mark.real
def test_real_nuclei_are_as_many_as_its_index_states():
    with (nuclei() / "index.csv").open() as file:
        stated = {(row["split"], row["name"]): int(row["instances"]) for row in csv.DictReader(file)}
    for split, count in (("train", 109), ("val", 23)):
        dataset = InstanceMasks(nuclei(), split)
        assert len(dataset) == count
        for index in range(count):
            sample = dataset[index]
            assert len(sample.instances) == stated[split, sample.id]


def test_the_nodata_of_a_mask_is_no_object(tmp_path):
    write_instance_masks(tmp_path)
    path = tmp_path / "train" / "masks" / "0000.png"
    ids = np.array(Image.open(path)).astype(np.float32)
    before = InstanceMasks(tmp_path, "train")[0].instances
    ids[0, 0] = -9999
    path.unlink()
    write_tiff(path.with_suffix(".tif"), ids[..., None], nodata=-9999)
    after = InstanceMasks(tmp_path, "train")[0].instances
    np.testing.assert_array_equal(after.boxes, before.boxes)
