import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from coatseg.data.annotations.formats.coco import read_objects
from coatseg.data.datasets.coco import Coco
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.objects import PLACES, SIZE, compressed, mask_of, polygon_of, run_lengths, write_coco


class TestCoco(DatasetContract):
    def make(self, root):
        return Coco(write_coco(root), "train")


def annotations_of(root: Path, split: str = "train") -> Path:
    return root / "annotations" / f"instances_{split}2017.json"


def rewrite(root: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Write COCO, and change the json of train."""
    path = annotations_of(write_coco(root))
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return root


def edited(**fields: Any) -> Callable[[dict[str, Any]], None]:
    """Change the first annotation, whose id is 10."""

    def change(content: dict[str, Any]) -> None:
        content["annotations"][0].update(fields)

    return change


def test_polygons_and_both_kinds_of_run_lengths_are_drawn(tmp_path):
    sample = Coco(write_coco(tmp_path), "train")[0]
    expected = [mask_of(corners) for corners in PLACES]
    expected[2][:, 16:20] = False  # between its two polygons
    np.testing.assert_array_equal(sample.instances.masks, expected)
    np.testing.assert_array_equal(sample.instances.boxes, np.array(PLACES, np.float32))


def test_labels_crowds_and_areas_are_the_json_s(tmp_path):
    dataset = Coco(write_coco(tmp_path), "train")
    instances = dataset[0].instances
    assert instances.labels.tolist() == [0, 1, 2, 0]
    assert instances.crowd.tolist() == [False, False, False, True]
    assert instances.areas.tolist() == [400, 420, 340, 72]
    assert dataset.info.classes == ("person", "stop sign", "toothbrush")
    assert dataset.info.category_ids == (1, 13, 90)
    assert dataset.info.palette[0] == (220, 20, 60)
    assert dataset.info.annotates == {"boxes", "instances"}


@pytest.mark.parametrize(("stated", "crowd"), [(True, True), (False, False), (1, True), (0, False), (None, False)])
def test_a_crowd_may_be_stated_as_a_number_or_a_truth(tmp_path, stated, crowd):
    assert Coco(rewrite(tmp_path, edited(iscrowd=stated)), "train")[0].instances.crowd[0] == crowd


def test_images_without_objects_are_kept(tmp_path):
    dataset = Coco(write_coco(tmp_path), "val")
    assert [dataset[index].id for index in range(3)] == ["101", "102", "103"]
    empty = dataset[2].instances
    assert (len(empty), empty.boxes.shape, empty.masks.shape) == (0, (0, 4), (0, *SIZE))


def test_objects_belong_to_their_images_in_any_order(tmp_path):
    dataset = Coco(rewrite(tmp_path, lambda content: content["annotations"].reverse()), "train")
    np.testing.assert_array_equal(dataset[1].instances.boxes, np.array(PLACES[::-1], np.float32))
    np.testing.assert_array_equal(dataset[1].instances.masks[3], mask_of(PLACES[0]))


def test_images_may_be_in_a_folder_images(tmp_path):
    write_coco(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "train2017").rename(tmp_path / "images" / "train2017")
    assert len(Coco(tmp_path, "train")) == 3


def test_polygons_between_pixels_are_drawn_as_pycocotools_draws_them(tmp_path):
    polygons = [[10.21, 5.5, 40.13, 9.97, 33.3, 40.04, 12.5, 33.1], [1.1, 2.3, 9.7, 2.3, 5.55, 9.9]]
    root = rewrite(tmp_path, edited(segmentation=polygons))
    reference = COCO(annotations_of(root))
    drawn = Coco(root, "train")[0].instances.masks[0]
    np.testing.assert_array_equal(drawn, reference.annToMask(reference.anns[10]).astype(bool))


def test_coordinates_of_many_digits_are_kept_as_they_are(tmp_path):
    polygons = [[10.123456789, 5.5, 40.1, 9.9, 33.3, 40.0]]
    root = rewrite(tmp_path, edited(segmentation=polygons))
    reference = COCO(annotations_of(root))
    drawn = Coco(root, "train")[0].instances.masks[0]
    np.testing.assert_array_equal(drawn, reference.annToMask(reference.anns[10]).astype(bool))


def test_without_masks_there_are_boxes(tmp_path):
    def strip(content):
        for annotation in content["annotations"]:
            annotation["segmentation"] = []
            del annotation["area"], annotation["iscrowd"]

    dataset = Coco(rewrite(tmp_path, strip), "train")
    instances = dataset[0].instances
    assert dataset.info.annotates == {"boxes"}
    assert (instances.masks, instances.areas, instances.crowd.any(), len(instances)) == (None, None, False, 4)
    assert dataset.repairs == ()


@pytest.mark.parametrize(
    ("fields", "said", "boxes"),
    [
        ({"bbox": [2, 3, 0, 20]}, "1 box without area taken from the mask (first: annotation 10)", [2, 3, 22, 23]),
        ({"bbox": None}, "1 box not stated taken from the mask (first: annotation 10)", [2, 3, 22, 23]),
        (
            {"bbox": [2, 3, 0, 20], "segmentation": [[2, 3, 2, 23, 2, 8]]},
            "1 box without area left out (first: annotation 10)",
            None,
        ),
        ({"bbox": [22, 23, -20, -20]}, "1 box with reversed corners swapped (first: annotation 10)", [2, 3, 22, 23]),
        (
            {"bbox": [50, -4, 20, 14], "segmentation": polygon_of((50, -4, 70, 10))},
            "1 box reaching out of the image clipped (first: annotation 10)",
            [50, 0, 64, 10],
        ),
        ({"bbox": [70, 3, 20, 20]}, "1 box outside the image left out (first: annotation 10)", None),
        (
            {"segmentation": polygon_of((20, 30, 220, 230))},
            "1 object whose polygons are not where their box is (first: annotation 10)",
            [2, 3, 22, 23],
        ),
        (
            {"segmentation": [[1, 2, 3, 4]]},
            "1 polygon of fewer than three points left out (first: annotation 10)",
            None,
        ),
        (
            {"segmentation": [[1, 2], *polygon_of(PLACES[0])]},
            "1 polygon of fewer than three points left out (first: annotation 10)",
            [2, 3, 22, 23],
        ),
    ],
)
def test_what_is_commonly_wrong_is_mended_and_counted(tmp_path, fields, said, boxes):
    dataset = Coco(rewrite(tmp_path, edited(**fields)), "train")
    instances = dataset[0].instances
    assert dataset.repairs == (said,)
    assert len(instances) == len(instances.masks) == (4 if boxes else 3)
    assert instances.boxes[0].tolist() == (boxes or [30, 5, 58, 20])
    dataset.verify(0)


def test_a_box_that_rounding_moved_out_is_clipped_without_a_word(tmp_path):
    dataset = Coco(
        rewrite(tmp_path, edited(bbox=[50.5, 3, 13.51, 20], segmentation=polygon_of((50, 3, 64, 23)))), "train"
    )
    assert dataset.repairs == ()
    assert dataset[0].instances.boxes[0].tolist() == [50.5, 3, 64, 23]


def test_masks_that_only_some_objects_have_are_not_used_and_that_is_said(tmp_path):
    dataset = Coco(rewrite(tmp_path, edited(segmentation=None)), "train")
    assert dataset.info.annotates == {"boxes"}
    assert dataset[0].instances.masks is None
    assert dataset.repairs == (
        "1 object without a mask, so that the masks of the others are not used: see data.without_mask "
        "(first: annotation 10)",
    )


def without(kind: str, key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[kind][1].pop(key)


def unboxed(content: dict[str, Any]) -> None:
    del content["annotations"][1]["bbox"], content["annotations"][1]["segmentation"]


def doubled(kind: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[kind].append(content[kind][0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("categories"), "no images, annotations and categories, lists of entries"),
        (lambda content: content.update(images={}), "no images, annotations and categories, lists of entries"),
        (lambda content: content["annotations"].append(7), "no images, annotations and categories, lists of entries"),
        (lambda content: content.update(categories=[]), "annotation 10 has category_id=1, which categories lacks"),
        (without("images", "height"), "image 2 has no height"),
        (without("images", "id"), "image number 2 has no id"),
        (edited(bbox=None, segmentation=[]), "annotation 10 has bbox=None"),
        (unboxed, "annotation 11 has no bbox"),
        (without("annotations", "image_id"), "annotation 11 has no image_id"),
        (without("categories", "name"), "category 13 has no name"),
        (doubled("annotations"), "has the annotation id 10 twice"),
        (doubled("images"), "has the image id 1 twice"),
        (doubled("categories"), "has the category id 1 twice"),
        (lambda content: content["images"].append({**content["images"][0], "id": "1"}), "has the image id 1 twice"),
        (lambda content: content["images"][1].update(file_name=""), "image 2 has an empty file_name"),
        (edited(category_id=2), "annotation 10 has category_id=2, which categories lacks"),
        (edited(image_id=7), "annotation 10 has image_id=7, which images lacks"),
        (edited(id="a"), "annotation a has id='a'"),
        (edited(bbox=[1, 2, 3]), r"annotation 10 has bbox=\[1, 2, 3\], which is not x, y, width and height"),
        (edited(bbox=[1, 2, 3, "four"]), "annotation 10 has bbox="),
        (edited(bbox=[1, 2, 3, None]), "annotation 10 has bbox="),
        (edited(bbox=[1, 2, 3, float("nan")]), r"annotation 10 has bbox=\[1, 2, 3, nan\]"),
        (edited(bbox=[1, 2, 3, 10**400]), r"annotation 10 has bbox=\[1, 2, 3, 1000+\.\.\.0+\], which is not x, y"),
        (edited(bbox=["1", "2", "3", "4"]), r"annotation 10 has bbox=\['1', '2', '3', '4'\], which is not x, y"),
        (edited(iscrowd="0"), "annotation 10 has iscrowd='0', which is neither 0 nor 1"),
        (edited(iscrowd=2), "annotation 10 has iscrowd=2, which"),
        (edited(iscrowd=[]), r"annotation 10 has iscrowd=\[\], which"),
        (edited(area="400"), "annotation 10 has area='400'"),
        (edited(area="big"), "annotation 10 has area='big'"),
        (edited(area=10**400), r"annotation 10 has area=1000+\.\.\."),
        (edited(id=10**20), "annotation 1(0{20}) has id=1(0{20})"),
        (lambda content: content["images"][1].update(height=10**20), "image 2 has height=1(0{20})"),
        (edited(segmentation=7), "annotation 10 has a int as segmentation"),
        (edited(segmentation=[1, 2, 3, 4, 5, 6]), "annotation 10 has a polygon that is no list"),
        (edited(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "annotation 10 has a polygon of 7 numbers, which are no pairs"),
        (edited(segmentation=[[1, 2, 3, 4, 5, "6"]]), "annotation 10 has a polygon of something else than numbers"),
        (edited(segmentation=[[1, 2, 3, 4, 5, 10**400]]), "annotation 10 has a polygon with a coordinate too large"),
        (edited(segmentation=[[1, 2, 3, 4, 5, 1e9]]), r"annotation 10 has a polygon with the coordinate 1e\+09"),
        (edited(segmentation=[[1, 2, 3, 4, 5, float("nan")]]), "annotation 10 has a polygon with the coordinate nan"),
        (edited(segmentation={"size": [48, 64]}), "annotation 10 has run lengths without size or counts"),
        (
            edited(segmentation={"size": [64, 48], "counts": [3072]}),
            r"annotation 10 has run lengths of the size \[64, 48\], and its image is \[48, 64\]",
        ),
        (
            edited(segmentation={"size": [48, 64], "counts": [3000]}),
            "annotation 10 has run lengths of 3000 pixels, and its image has 3072",
        ),
        (edited(segmentation={"size": [48, 64], "counts": [-1, 3073]}), "annotation 10 has run lengths that are no"),
        (edited(segmentation={"size": [48, 64], "counts": ""}), "annotation 10 has compressed run lengths that"),
    ],
)
def test_what_makes_no_sense_is_named_with_file_and_annotation(tmp_path, change, said):
    root = rewrite(tmp_path, change)
    with pytest.raises(DatasetError, match=rf"instances_train2017.json.*{said}") as raised:
        Coco(root, "train")
    assert raised.value.mend
    assert "\n" not in raised.value.what


@pytest.mark.parametrize(
    ("text", "said"), [('{"images": [', "Expecting value"), ("[" * 200_000, "maximum recursion depth")]
)
def test_a_file_that_is_no_json_is_told(tmp_path, text, said):
    annotations_of(write_coco(tmp_path)).write_text(text)
    with pytest.raises(DatasetError, match=f"instances_train2017.json is no json: {said}"):
        Coco(tmp_path, "train")


def test_a_folder_in_the_place_of_a_json_is_told(tmp_path):
    with pytest.raises(DatasetError, match=r"annotations cannot be read: Is a directory"):
        read_objects(write_coco(tmp_path) / "annotations")


@pytest.mark.parametrize("counts", [compressed(np.ones((8, 8), bool))["counts"], "0", "n", "zzzzzzzzzzzzzzzzzzzzzzz"])
def test_compressed_run_lengths_that_do_not_fill_the_image_are_named_when_read(tmp_path, counts):
    dataset = Coco(rewrite(tmp_path, edited(segmentation={"size": [48, 64], "counts": counts})), "train")
    with pytest.raises(DatasetError, match=r"annotation 10 has run lengths of -?\d+ pixels, and its image has 3072"):
        dataset.verify(0)
    dataset.verify(1)


def test_images_that_are_not_on_disk_are_named(tmp_path):
    write_coco(tmp_path)
    for number in (1, 3):
        (tmp_path / "train2017" / f"{number:012d}.jpg").unlink()
    with pytest.raises(DatasetError, match=r"has the image 000000000001.jpg, and 1 more, which is not in .*train2017"):
        Coco(tmp_path, "train")


def test_an_image_of_another_size_than_stated_is_named(tmp_path):
    path = write_coco(tmp_path) / "train2017" / "000000000001.jpg"
    Image.new("RGB", (48, 64)).save(path)
    with pytest.raises(DatasetError, match=r"states 48x64 for the image 1, and .*000000000001.jpg has 64x48"):
        Coco(tmp_path, "train").verify(0)


def test_a_missing_tree_says_how_to_get_it(tmp_path):
    with pytest.raises(DatasetNotFoundError) as raised:
        Coco(tmp_path, "train")
    assert "annotations/instances_train2017.json" in raised.value.what
    for part in ("data.download=true", "annotations_trainval2017.zip", "data.root="):
        assert part in raised.value.mend
    with pytest.raises(ConfigError, match=r"Choices: train, val"):
        Coco(tmp_path, "test")


def test_run_lengths_of_the_test_s_own_agree_with_pycocotools():
    mask = mask_of(PLACES[0])
    reference = COCO()
    reference.imgs = {1: {"height": SIZE[0], "width": SIZE[1]}}
    drawn = reference.annToMask({"image_id": 1, "segmentation": run_lengths(mask)})
    np.testing.assert_array_equal(drawn.astype(bool), mask)


def real_coco():
    return Path(os.environ.get("COATSEG_REAL_DATA", "")) / "coco_tiny"


@pytest.mark.real
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_objects_are_those_of_pycocotools_in_every_pixel(split):
    dataset, reference = Coco(real_coco(), split), COCO(annotations_of(real_coco(), split))
    assert dataset.repairs == ()
    assert len(dataset) == 80
    for sample in dataset:
        annotations = reference.imgToAnns[int(sample.id)]
        boxes = np.array([annotation["bbox"] for annotation in annotations])
        boxes[:, 2:] += boxes[:, :2]
        instances = sample.instances
        np.testing.assert_allclose(instances.boxes, boxes, atol=0.011)  # its boxes reach out by a hundredth
        np.testing.assert_array_equal(instances.masks, [reference.annToMask(one) for one in annotations])
        assert [dataset.info.category_ids[label] for label in instances.labels] == [
            annotation["category_id"] for annotation in annotations
        ]
        assert instances.areas.tolist() == [annotation["area"] for annotation in annotations]
        assert instances.crowd.tolist() == [annotation["iscrowd"] for annotation in annotations]


@pytest.mark.real
class TestRealCoco(DatasetContract):
    def make(self, root):
        return Coco(real_coco(), "val")
