"""Fetching a dataset that is not there, the same for every reader of an official layout."""

import sys
from types import ModuleType

import pytest

from coatseg.data.datasets.ade20k import ADE20K
from coatseg.data.datasets.coco import Coco
from coatseg.data.datasets.coco_panoptic import CocoPanoptic
from coatseg.data.datasets.coco_stuff import CocoStuff
from coatseg.data.datasets.voc import VOC
from coatseg.errors import DatasetNotFoundError
from tests.data.objects import write_coco
from tests.data.official import write_ade20k, write_coco_panoptic, write_coco_stuff, write_voc

READERS = {
    "ade20k": (ADE20K, write_ade20k),
    "voc": (VOC, write_voc),
    "coco": (Coco, write_coco),
    "coco_panoptic": (CocoPanoptic, write_coco_panoptic),
    "coco_stuff": (CocoStuff, write_coco_stuff),
}


@pytest.fixture
def obtained(monkeypatch):
    """What was asked for, while a fetch writes it; nothing into a folder called `empty`."""
    fetched = []

    def obtain(dataset, root):
        fetched.append((dataset, root))
        if root.name != "empty":
            READERS[dataset][1](root)

    module = ModuleType("coatseg.data.download")
    module.obtain = obtain
    monkeypatch.setitem(sys.modules, "coatseg.data.download", module)
    return fetched


@pytest.mark.parametrize("name", READERS)
def test_a_missing_dataset_is_fetched_once_if_asked_for(tmp_path, obtained, name):
    reader, _ = READERS[name]
    assert len(reader(tmp_path, "train", download=True)) == 3
    assert len(reader(tmp_path, "val", download=True)) == 3
    assert obtained == [(name, tmp_path)]


@pytest.mark.parametrize("name", READERS)
def test_nothing_is_fetched_unasked(tmp_path, obtained, name):
    with pytest.raises(DatasetNotFoundError, match=r"(?s)not in .*data.download=true.*data.root="):
        READERS[name][0](tmp_path, "train")
    assert obtained == []


def test_a_fetch_that_brings_something_else_is_told(tmp_path, obtained):
    with pytest.raises(DatasetNotFoundError) as raised:
        ADE20K(tmp_path / "empty", "train", download=True)
    assert obtained == [("ade20k", tmp_path / "empty")]
    assert "ADEChallengeData2016/images/training" in raised.value.what
    assert "data.download" not in raised.value.mend
