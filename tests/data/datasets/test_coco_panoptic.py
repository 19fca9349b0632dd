import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.annotations.panoptic import read_annotations
from coatseg.data.annotations.segment_maps import read_segment_ids
from coatseg.data.datasets.coco_panoptic import CocoPanoptic
from coatseg.data.inspection.segment_facts import segment_facts
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, ImageError
from coatseg.structures import Segment
from tests.contracts.dataset import DatasetContract, assert_same
from tests.data.official import SEGMENTS, write_coco_panoptic, write_segment_ids

FIRST = "000000000001"


class TestCocoPanoptic(DatasetContract):
    def make(self, root):
        return CocoPanoptic(write_coco_panoptic(root), "train")


def json_of(root, split="train"):
    return root / "annotations" / f"panoptic_{split}2017.json"


def png_of(root):
    return root / "annotations" / "panoptic_train2017" / f"{FIRST}.png"


@pytest.fixture
def changed(tmp_path):
    """Write the dataset with its train json changed by a function."""

    def write(change):
        content = json.loads(json_of(write_coco_panoptic(tmp_path)).read_text())
        change(content)
        json_of(tmp_path).write_text(json.dumps(content))
        return tmp_path

    return write


def test_segments_become_their_classes_crowds_too_and_void_is_ignored(tmp_path):
    write_coco_panoptic(tmp_path)
    ids = read_segment_ids(png_of(tmp_path))
    assert set(np.unique(ids)) == {0, *SEGMENTS}
    expected = {0: 255, 200: 0, 1000: 0, 70000: 1, 16777215: 2, 65536: 3}
    sample = CocoPanoptic(tmp_path, "train")[0]
    np.testing.assert_array_equal(sample.label_map, np.vectorize(expected.get)(ids))


def test_ids_are_red_green_and_blue_bytes(tmp_path):
    Image.fromarray(np.array([[[3, 2, 1], [255, 255, 255]]], np.uint8)).save(tmp_path / "a.png")
    assert read_segment_ids(tmp_path / "a.png").tolist() == [[3 + 2 * 256 + 65536, 2**24 - 1]]


def test_classes_come_from_the_json_in_its_order_with_published_colours(tmp_path):
    info = CocoPanoptic(write_coco_panoptic(tmp_path), "val").info
    assert info.classes == ("person", "stop sign", "floor-wood", "sky-other-merged")
    assert info.things == (0, 1)
    assert info.palette == ((220, 20, 60), (220, 220, 0), (218, 88, 184), (70, 130, 180))


def test_colours_of_the_json_go_first_and_unknown_names_get_one(changed):
    def recolour(content):
        content["categories"][0]["color"] = [1, 2, 3]
        content["categories"][2]["name"] = "unheard of"

    assert CocoPanoptic(changed(recolour), "train").info.palette == (
        (1, 2, 3),
        (220, 220, 0),
        (0, 128, 0),
        (70, 130, 180),
    )


def test_the_annotations_keep_segments_with_their_crowds(tmp_path):
    annotations = read_annotations(json_of(write_coco_panoptic(tmp_path)))
    ids = read_segment_ids(png_of(tmp_path))
    assert [category.is_thing for category in annotations.categories] == [True, True, False, False]
    segments = (
        Segment(200, 0), Segment(1000, 0, crowd=True), Segment(70000, 1), Segment(16777215, 2), Segment(65536, 3)
    )  # fmt: skip
    stated = tuple(replace(segment, area=float((ids == segment.id).sum())) for segment in segments)
    assert annotations.segments(f"{FIRST}.png") == stated


def test_a_json_that_changes_is_read_again(tmp_path):
    write_coco_panoptic(tmp_path)
    assert len(CocoPanoptic(tmp_path, "train")) == 3
    content = json.loads(json_of(tmp_path).read_text())
    content["annotations"].pop()
    json_of(tmp_path).write_text(json.dumps(content))
    assert len(CocoPanoptic(tmp_path, "train")) == 2


def test_images_may_be_in_a_folder_images(tmp_path):
    write_coco_panoptic(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "val2017").rename(tmp_path / "images" / "val2017")
    assert CocoPanoptic(tmp_path, "val")[0].id == "000000000101"


def test_a_segment_that_the_json_does_not_know_is_named(tmp_path):
    write_coco_panoptic(tmp_path)
    ids = read_segment_ids(png_of(tmp_path)).copy()
    ids[30, 40] = 4711
    write_segment_ids(png_of(tmp_path), ids)
    with pytest.raises(DatasetError) as raised:
        CocoPanoptic(tmp_path, "train").verify(0)
    assert f"{png_of(tmp_path)} has the segment 4711, first at (x=40, y=30)" in raised.value.what
    assert str(json_of(tmp_path)) in raised.value.what


@pytest.mark.parametrize(("mode", "said"), [("L", "1 channels of uint8"), ("LA", "2 channels"), ("I;16", "uint16")])
def test_a_png_that_is_not_rgb_is_refused(tmp_path, mode, said):
    write_coco_panoptic(tmp_path)
    Image.new(mode, (48, 36)).save(png_of(tmp_path))
    with pytest.raises(DatasetError, match=rf"(?s){FIRST}.png has .*{said}.*segment ids are coded in RGB"):
        CocoPanoptic(tmp_path, "train").verify(0)


def test_an_alpha_channel_is_left_out(tmp_path):
    write_coco_panoptic(tmp_path)
    before = CocoPanoptic(tmp_path, "train")[0]
    Image.open(png_of(tmp_path)).convert("RGBA").save(png_of(tmp_path))
    assert_same(CocoPanoptic(tmp_path, "train")[0], before)


CHANGES = {
    "the field 'categories' is missing": lambda content: content.pop("categories"),
    "the field 'segments_info' is missing": lambda content: content["annotations"][0].pop("segments_info"),
    "no panoptic annotation file": lambda content: content.update(images=3),
    f"{FIRST}.png belongs to the image 77, which images lacks": lambda content: content["annotations"][0].update(
        image_id=77
    ),
    f"{FIRST}.png has the segment 200 of the category 999": lambda content: content["annotations"][0]["segments_info"][
        0
    ].update(category_id=999),
    f"{FIRST}.png has the segment 1000 twice": lambda content: content["annotations"][0]["segments_info"][0].update(
        id=1000
    ),
    f"{FIRST}.png calls a segment 0": lambda content: content["annotations"][0]["segments_info"][0].update(id=0),
    "annotates no image": lambda content: content.update(annotations=[]),
}


@pytest.mark.parametrize("said", CHANGES)
def test_a_json_that_makes_no_sense_is_named(changed, said):
    root = changed(CHANGES[said])
    with pytest.raises(DatasetError) as raised:
        CocoPanoptic(root, "train")
    assert said in raised.value.what
    assert str(json_of(root)) in raised.value.what


def test_the_archives_of_coco_are_named_for_its_own_layout_alone(changed):
    root = changed(CHANGES["annotates no image"])
    paths = {
        "images": "SPLIT2017", "annotations": "annotations/panoptic_SPLIT2017.json",
        "masks": "annotations/panoptic_SPLIT2017",
    }  # fmt: skip
    mends = []
    for options in ({}, paths):
        with pytest.raises(DatasetError) as raised:
            CocoPanoptic(root, "train", **options)
        mends.append(raised.value.mend)
    assert ["trainval2017" in mend for mend in mends] == [True, False]


def test_a_json_cut_short_is_named(tmp_path):
    write_coco_panoptic(tmp_path)
    json_of(tmp_path).write_text(json_of(tmp_path).read_text()[:-20])
    with pytest.raises(DatasetError, match=r"panoptic_train2017.json is no panoptic annotation file"):
        CocoPanoptic(tmp_path, "train")


def test_missing_files_are_named(tmp_path):
    write_coco_panoptic(tmp_path)
    png_of(tmp_path).unlink()
    (tmp_path / "train2017" / "000000000002.jpg").unlink()
    dataset = CocoPanoptic(tmp_path, "train")
    with pytest.raises(DatasetError, match=rf"(?s){FIRST}.jpg has no mask.*panoptic_train2017/{FIRST}.png"):
        dataset.verify(0)
    with pytest.raises(ImageError, match=r"000000000002.jpg cannot be read"):
        dataset.verify(1)


def test_a_missing_tree_says_what_was_looked_for_where_and_how_to_get_it(tmp_path):
    with pytest.raises(DatasetNotFoundError) as raised:
        CocoPanoptic(tmp_path, "train")
    assert f"not in {tmp_path}: there is no train2017 and no annotations/panoptic_train2017.json" in raised.value.what
    for part in ("data.download=true", "panoptic_annotations_trainval2017.zip", "train2017.zip", "data.root="):
        assert part in raised.value.mend


def test_masks_still_packed_are_named(tmp_path):
    write_coco_panoptic(tmp_path)
    png_of(tmp_path).parent.rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetNotFoundError, match=r"(?s)no annotations/panoptic_train2017\.\n.*two archives in its"):
        CocoPanoptic(tmp_path, "train")


def test_a_wrong_split_is_told_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"Did you mean val\?"):
        CocoPanoptic(tmp_path, "vals")


def real_coco():
    return Path(os.environ.get("COATSEG_REAL_DATA", "")) / "coco_panoptic"


@pytest.mark.real
class TestRealCocoPanoptic(DatasetContract):
    def make(self, root):
        return CocoPanoptic(real_coco(), "val")


@pytest.mark.real
def test_the_real_classes_are_the_published_133():
    info = CocoPanoptic(real_coco(), "train").info
    published = json.loads((real_coco() / "panoptic_coco_categories.json").read_text())
    assert info.classes == tuple(category["name"] for category in published)
    assert info.palette == tuple(tuple(category["color"]) for category in published)
    assert info.things == tuple(range(80))


@pytest.mark.real
@pytest.mark.parametrize(("split", "count"), [("train", 26), ("val", 27)])
def test_real_label_maps_agree_with_the_semantic_masks_in_every_pixel(split, count):
    dataset = CocoPanoptic(real_coco(), split)
    categories = json.loads((real_coco() / "panoptic_coco_categories.json").read_text())
    of_label = np.zeros(256, np.uint8)
    of_label[: len(categories)] = [category["id"] for category in categories]
    assert len(dataset) == count
    for sample in dataset:
        mask = np.asarray(Image.open(real_coco() / "semantic_masks" / f"{split}2017" / f"{sample.id}.png"))
        np.testing.assert_array_equal(of_label[sample.label_map], mask)


@pytest.mark.real
@pytest.mark.parametrize(("split", "counts"), [("train", (285, 181, 1)), ("val", (263, 174, 2))])
def test_real_segments_are_those_that_are_published_with_their_areas(split, counts):
    dataset = CocoPanoptic(real_coco(), split)
    facts = [segment_facts(sample.panoptic, dataset.info) for sample in dataset]
    labels, crowd = (np.concatenate([getattr(one, name) for one in facts]) for name in ("labels", "crowd"))
    assert (len(labels), np.isin(labels, dataset.info.things).sum(), crowd.sum()) == counts
    assert not any(one.misstated or one.absent or one.strangers or one.parted for one in facts)
