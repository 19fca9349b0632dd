"""What annotation tools write of objects, by hand to the byte, and what the readers make of it."""

import json

import numpy as np
import pytest
from PIL import Image

from coatseg.data.annotations.objects.options import ClassChoice, ObjectOptions
from coatseg.data.datasets.cityscapes import Cityscapes
from coatseg.data.datasets.coco import Coco
from coatseg.data.datasets.coco_json import CocoJson
from coatseg.data.datasets.coco_panoptic import CocoPanoptic
from coatseg.data.datasets.instance_masks import InstanceMasks
from coatseg.data.datasets.voc_boxes import VOCBoxes
from coatseg.data.trees.splits import Splits
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.objects import (
    PLACES,
    SIZE,
    coco_content,
    mask_of,
    polygon_of,
    run_lengths,
    write_coco,
    write_instance_masks,
    write_picture,
    write_voc_boxes,
    xml_of,
)
from tests.data.official import write_cityscapes, write_cityscapes_instances, write_coco_panoptic

OBJECTS = ObjectOptions(crowd="objects")


def write_json(root, annotations, categories=("cat", "dog"), name="a.png", **top):
    """Write images/a.png and a json of `annotations`, dicts that lack what they all have."""
    write_picture(root / "images" / "a.png", PLACES, 0)
    content = {
        "images": [{"id": 1, "file_name": name, "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, **one}
            for number, one in enumerate(annotations, 1)
        ],
        "categories": [
            {"id": number, **({"name": one} if isinstance(one, str) else one)}
            for number, one in enumerate(categories, 1)
        ],
        **top,
    }
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def opened(root, **options):
    """Open the only split that `write_json` has."""
    return CocoJson(root, "train", annotations={"train": "annotations.json"}, options=ObjectOptions(**options))


def boxed(corners, **more):
    x1, y1, x2, y2 = corners
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": polygon_of(corners), **more}


class TestRoboflowTree(DatasetContract):
    def make(self, root):
        write_roboflow(root)
        return CocoJson(root, "val", annotations="SPLIT/_annotations.coco.json", images="SPLIT")


def write_roboflow(root):
    content = coco_content()
    for split in ("train", "valid", "test"):
        for image in content["images"]:
            write_picture(root / split / image["file_name"], PLACES, image["id"])
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))
    return root


# COCO's form.


def test_datumaro_coco_of_masks_is_all_crowd_until_crowds_are_objects(tmp_path):
    masks = [mask_of(PLACES[0]), mask_of((40, 10, 41, 20))]
    boxes = [[2, 3, 19, 19], [40, 10, 0, 9]]  # a pixel short both ways
    stated = zip(masks, boxes, strict=True)
    root = write_json(
        tmp_path, [{"segmentation": run_lengths(mask), "bbox": box, "iscrowd": 1} for mask, box in stated]
    )
    left = opened(root)
    assert left[0].instances.crowd.all()
    assert left.repairs[-1] == (
        "2 crowds (iscrowd 1) neither learnt nor counted; if they are objects, set data.crowd=objects "
        "(first: annotation 1)"
    )
    taken = opened(root, crowd="objects")
    instances = taken[0].instances
    assert not instances.crowd.any()
    np.testing.assert_array_equal(instances.masks, masks)
    assert instances.boxes.tolist() == [[2, 3, 22, 23], [40, 10, 41, 20]]
    assert taken.repairs == (
        "2 boxes a pixel short of the mask both ways taken from it (first: annotation 1)",
        "2 crowds (iscrowd 1) taken as objects (first: annotation 1)",
    )


def test_a_single_short_box_among_others_is_what_someone_drew(tmp_path):
    masks = [mask_of(PLACES[0]), mask_of(PLACES[1])]
    (x1, y1, x2, y2), (left, top, right, bottom) = PLACES[0], PLACES[1]
    boxes = [[x1, y1, x2 - x1 - 1, y2 - y1 - 1], [left, top, right - left, bottom - top]]
    stated = zip(masks, boxes, strict=True)
    dataset = opened(write_json(tmp_path, [{"segmentation": run_lengths(mask), "bbox": box} for mask, box in stated]))
    assert dataset[0].instances.boxes.tolist() == [[x1, y1, x2 - 1, y2 - 1], [left, top, right, bottom]]
    assert dataset.repairs == ()


def test_datumaro_ids_that_repeat_over_images_are_told_apart(tmp_path):
    root = write_roboflow(tmp_path)
    path = root / "train" / "_annotations.coco.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["id"] %= 10
    content["annotations"][5]["bbox"] = [70, 1, 5, 5]
    path.write_text(json.dumps(content))
    dataset = CocoJson(root, "train", annotations="SPLIT/_annotations.coco.json", images="SPLIT")
    assert [len(dataset[index].instances) for index in range(3)] == [4, 3, 0]
    assert dataset.repairs == ("1 box outside the image left out (first: annotation 1 of image 2)",)


def test_supervision_parts_and_holes_are_crowd_until_crowds_are_objects(tmp_path):
    parts = mask_of((2, 3, 6, 8)) | mask_of((10, 3, 14, 8))
    thin = {"segmentation": [], "bbox": [30, 30, 0, 5]}
    whole = boxed(PLACES[1])
    several = {"segmentation": run_lengths(parts), "bbox": [2, 3, 11, 4], "iscrowd": 1}
    root = write_json(tmp_path, [whole] * 11 + [several] * 11 + [thin])
    assert opened(root).repairs == (
        "1 box without area left out (first: annotation 23)",
        "11 crowds (iscrowd 1) neither learnt nor counted; if they are objects, set data.crowd=objects "
        "(first: annotation 12)",
    )
    instances = opened(root, crowd="objects")[0].instances
    assert instances.boxes[-1].tolist() == [2, 3, 14, 8]
    assert instances.boxes[0].tolist() == list(PLACES[1])


@pytest.mark.parametrize(
    ("option", "annotates", "count", "said"),
    [
        ("stop", {"boxes"}, 2, "without a mask, so that the masks of the others are not used: see data.without_mask"),
        ("leave_out", {"boxes", "instances"}, 1, "without a mask left out"),
        ("box", {"boxes", "instances"}, 2, "without a mask given their box as mask"),
    ],
)
def test_roboflow_boxes_among_polygons_are_left_out_or_become_masks(tmp_path, option, annotates, count, said):
    bare = {"segmentation": [], "bbox": [30, 5, 28, 15]}
    dataset = opened(write_json(tmp_path, [boxed(PLACES[0]), bare]), without_mask=option)
    assert dataset.info.annotates == annotates
    assert dataset.repairs == (f"1 object {said} (first: annotation 2)",)
    instances = dataset[0].instances
    assert len(instances) == count
    if option == "box":
        np.testing.assert_array_equal(instances.masks[1], mask_of(PLACES[1]))


def test_roboflow_root_that_no_object_has_is_named(tmp_path):
    categories = [{"name": "animals"}, {"name": "cat", "supercategory": "animals"}]
    root = write_json(tmp_path, [boxed(PLACES[0], category_id=2)], categories)
    line = "the class animals has no object and is the supercategory of others; data.leave_out=[animals] leaves it out"
    assert opened(root).repairs == (line,)
    left = opened(root, leave_out=["animals"])
    assert (left.info.classes, left.info.category_ids, left.repairs) == (("cat",), (2,), ())
    assert left[0].instances.labels.tolist() == [0]


def test_labelme2coco_background_is_named(tmp_path):
    root = write_json(tmp_path, [boxed(PLACES[0], category_id=2)], ["_background_", "cat"])
    assert opened(root).repairs == (
        "the class _background_ has no object; data.leave_out=[_background_] leaves it out",
    )


def test_classes_are_chosen_by_name_in_their_order(tmp_path):
    root = write_json(tmp_path, [boxed(PLACES[0]), boxed(PLACES[1], category_id=3)], ["cat", "dog", "cow"])
    dataset = opened(root, classes=["cow", "dog"])
    assert (dataset.info.classes, dataset.info.category_ids) == (("cow", "dog"), (3, 2))
    assert dataset[0].instances.labels.tolist() == [0]
    assert dataset.repairs == ("1 object of classes that are not chosen left out (first: annotation 1)",)
    assert opened(root, leave_out=["cow"])[0].instances.boxes.tolist() == [list(PLACES[0])]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": ["cats"]}, r"(?s)data.classes names 'cats', which .*annotations.json does not have.*mean cat\?"),
        ({"leave_out": ["dogs"]}, r"(?s)data.leave_out names 'dogs', which .*mean dog\?"),
        ({"classes": ["cat", "cat"]}, r"names cat twice"),
        ({"classes": []}, r"names no class"),
        ({"classes": ["cat"], "leave_out": ["cat"]}, r"data.classes and data.leave_out both name 'cat'"),
        ({"leave_out": ["cat", "dog"]}, r"data.leave_out leaves no class"),
    ],
)
def test_classes_that_cannot_be_chosen(tmp_path, options, said):
    with pytest.raises(ConfigError, match=said):
        opened(write_json(tmp_path, [boxed(PLACES[0])]), **options)


def test_coco_itself_takes_chosen_classes(tmp_path):
    dataset = Coco(write_coco(tmp_path), "val", options=ObjectOptions(classes=["stop sign"]))
    assert (dataset.info.classes, dataset.info.category_ids) == (("stop sign",), (13,))
    assert dataset[0].instances.boxes.tolist() == [list(PLACES[1])]


@pytest.mark.parametrize(
    "name",
    [
        "images\\a.png",
        "images/a.png",
        "C:\\data\\mine\\images\\a.png",
        "/home/me/images/a.png",
        "a.PNG",
        "images/0a1b2c3d__a.png",
        "upload/1/0a1b2c3d-a.png",
        "http://localhost:8080/data/upload/1/0a1b2c3d-a.png",
        "https://storage/bucket/a.png?token=5",
        "/data/local-files/?d=mine%2Fimages%2Fa.png",
    ],
)
def test_a_file_name_written_elsewhere_is_found_if_only_one_file_fits(tmp_path, name):
    dataset = opened(write_json(tmp_path, [boxed(PLACES[0])], name=name))
    assert dataset.image_of(0)[1] == tmp_path / "images" / "a.png"
    assert dataset.repairs == (f"1 image found under another name (first: {name} as a.png)",)
    dataset.verify(0)


def test_a_file_name_that_fits_no_file_or_several_says_what_is_there(tmp_path):
    root = write_json(tmp_path, [], name="images/b.png")
    with pytest.raises(
        DatasetError, match=r"(?s)image images/b.png, which is not in .*a file b.png is below it; it ho"
    ):
        opened(root)
    for folder in ("x", "y"):
        write_picture(root / "images" / folder / "b.png", PLACES, 0)
    with pytest.raises(DatasetError, match=r"(?s)More than one file there would fit: x/b.png, y/b.png"):
        opened(root)
    write_json(tmp_path, [], name="elsewhere/x/b.png")
    assert opened(root).image_of(0)[1] == root / "images" / "x" / "b.png"


def test_two_images_are_not_found_in_one_file(tmp_path):
    images = [
        {"id": number, "file_name": f"{folder}/a.png", "height": SIZE[0], "width": SIZE[1]}
        for number, folder in enumerate(("x", "y"))
    ]
    root = write_json(tmp_path, [], images=images)
    with pytest.raises(DatasetError, match=r"has the images x/a.png and y/a.png, and .*images has only a.png for both"):
        opened(root)


@pytest.mark.parametrize(
    ("annotation", "what"),
    [
        ({"bbox": [0.1, 0.2, 0.25, 0.375]}, "boxes"),
        ({"segmentation": [[0.1, 0.2, 0.5, 0.2, 0.5, 0.9]]}, "polygons"),
        ({"bbox": [2, 3, 20, 20], "segmentation": [[0.1, 0.2, 0.5, 0.2, 0.5, 0.9]]}, "polygons"),
    ],
)
def test_fractions_of_the_image_are_refused(tmp_path, annotation, what):
    with pytest.raises(DatasetError, match=rf"annotations.json: the {what} are fractions of the image, all between 0"):
        opened(write_json(tmp_path, [annotation] * 2))


def test_a_json_without_annotations_is_read_and_marked(tmp_path):
    root = write_json(tmp_path, [])
    assert opened(root).has_truth
    content = json.loads((root / "annotations.json").read_text())
    del content["annotations"]
    (root / "annotations.json").write_text(json.dumps(content))
    dataset = opened(root)
    assert not dataset.has_truth
    assert len(dataset[0].instances) == 0
    assert not dataset.has_objects(0)


def test_label_studio_images_without_annotations_state_no_size(tmp_path):
    write_picture(tmp_path / "images" / "b.png", PLACES, 1)
    images = [
        {"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]},
        {"id": 2, "file_name": "b.png", "height": None, "width": None},
    ]
    dataset = opened(write_json(tmp_path, [boxed(PLACES[0])], images=images))
    assert dataset.size(1) == SIZE
    assert dataset[1].instances.masks.shape == (0, *SIZE)
    root = write_json(tmp_path, [boxed(PLACES[0], image_id=2)], images=images)
    with pytest.raises(DatasetError, match=r"image 2 has height=None"):
        opened(root)


def test_areas_are_those_stated_else_those_of_the_masks(tmp_path):
    annotations = [boxed(PLACES[0], area=7.5), boxed(PLACES[1])]
    assert opened(write_json(tmp_path, annotations))[0].instances.areas.tolist() == [7.5, 28 * 15]
    bare = [{**one, "segmentation": []} for one in annotations]
    assert opened(write_json(tmp_path, bare))[0].instances.areas.tolist() == [7.5, 28 * 15]


def test_masks_without_any_box_give_boxes_without_a_word(tmp_path):
    annotations = [{"segmentation": polygon_of(PLACES[0])}, {"segmentation": run_lengths(mask_of(PLACES[1]))}]
    dataset = opened(write_json(tmp_path, annotations))
    assert dataset[0].instances.boxes.tolist() == [list(PLACES[0]), list(PLACES[1])]
    assert dataset.repairs == ()


def test_datumaro_tree_of_coco_is_named_by_options(tmp_path):
    content = coco_content()
    for split in ("train", "val"):
        for image in content["images"]:
            write_picture(tmp_path / "images" / split / image["file_name"], PLACES, image["id"])
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    for split in ("train", "val"):
        paths = {"annotations": "annotations/instances_SPLIT.json", "images": "images/SPLIT"}
        assert CocoJson(tmp_path, split, **paths)[0].file == str(tmp_path / "images" / split / "000000000001.jpg")
    with pytest.raises(DatasetNotFoundError, match=r"There is no .*instances_test.json"):
        CocoJson(tmp_path, "test", **paths)


# VOC's form.


def test_supervision_and_roboflow_voc_have_xml_beside_images_of_each_split(tmp_path):
    for number, split in enumerate(("train", "valid")):
        write_picture(tmp_path / split / "a.jpg", PLACES, number)
        (tmp_path / split / "a.xml").write_text(xml_of("a", [("cat", (3, 4, 22, 23), "Unspecified")]))
    dataset = VOCBoxes(tmp_path, "val", images=".", annotations=".", classes=None)
    assert dataset[0].file == str(tmp_path / "valid" / "a.jpg")
    assert dataset[0].instances.boxes.tolist() == [[2, 3, 22, 23]]
    assert not dataset[0].instances.crowd.any()


def test_label_studio_voc_is_split_by_a_fraction(tmp_path):
    for number in range(10):
        write_picture(tmp_path / "images" / f"{number}.jpg", PLACES, number)
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{number}.xml").write_text(xml_of("a", [("cat", (3, 4, 22, 23), 0)]))
    splits = Splits(val_fraction=0.4)
    train, val = (VOCBoxes(tmp_path, name, images="images", classes=None, splits=splits) for name in ("train", "val"))
    assert len(train) + len(val) == 10
    assert 0 < len(val) < 8


@pytest.mark.parametrize(("option", "count"), [("empty", 3), ("leave_out", 2)])
def test_datumaro_writes_no_xml_of_an_image_without_objects(tmp_path, option, count):
    write_voc_boxes(tmp_path)
    (tmp_path / "VOCdevkit" / "VOC2007" / "Annotations" / "000003.xml").unlink()
    with pytest.raises(
        DatasetError, match=r"(?s)000003.xml cannot be read.*data.without_annotation=empty or leave_out"
    ):
        VOCBoxes(tmp_path, "train")
    dataset = VOCBoxes(tmp_path, "train", without_annotation=option)
    assert len(dataset) == count
    assert len(dataset[count - 1].instances) == (0 if option == "empty" else 4)
    done = "left out" if option == "leave_out" else "taken to show nothing"
    assert dataset.repairs == (f"1 image without an xml {done} (first: 000003)",)
    for path in (tmp_path / "VOCdevkit" / "VOC2007" / "Annotations").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(DatasetError, match=r"(?s)No image of the split has an xml in .*data.annotations="):
        VOCBoxes(tmp_path, "train")


def test_datumaro_and_cvat_voc_corners_from_0_are_told(tmp_path):
    write_voc_boxes(tmp_path)
    path = tmp_path / "VOCdevkit" / "VOC2007" / "Annotations" / "000001.xml"
    path.write_text(xml_of("000001", [("cat", (0, 10, 30, 30), 0)]))
    assert VOCBoxes(tmp_path, "train").repairs == (
        "1 box reaching out of the image clipped (first: 000001.xml)",
        "1 box beginning at 0, where VOC counts from 1; tools that count from 0 want data.one_based=false "
        "(first: 000001.xml)",
    )
    dataset = VOCBoxes(tmp_path, "train", one_based=False)
    assert dataset.repairs == ()
    assert dataset[0].instances.boxes.tolist() == [[0, 10, 30, 30]]


def test_voc_corners_from_1_are_told_where_0_is_stated(tmp_path):
    write_voc_boxes(tmp_path)
    path = tmp_path / "VOCdevkit" / "VOC2007" / "Annotations" / "000001.xml"
    path.write_text(xml_of("000001", [("cat", (1, 10, 30, 30), 0)] * 3))
    assert VOCBoxes(tmp_path, "train", one_based=False).repairs == (
        "3 boxes beginning at 1, and none at 0; VOC's own want data.one_based=true (first: 000001.xml)",
    )


@pytest.mark.parametrize(
    ("word", "difficult"),
    [("Unspecified", False), ("unspecified", False), ("No", False), ("false", False), ("", False), ("0", False),
     ("1", True), ("True", True), ("yes", True)],
)  # fmt: skip
def test_voc_difficult_in_words(tmp_path, word, difficult):
    write_voc_boxes(tmp_path)
    path = tmp_path / "VOCdevkit" / "VOC2007" / "Annotations" / "000001.xml"
    path.write_text(xml_of("000001", [("cat", (3, 4, 22, 23), word)]))
    assert VOCBoxes(tmp_path, "train")[0].instances.crowd.tolist() == [difficult]


def test_voc_difficult_in_other_words_is_an_error(tmp_path):
    write_voc_boxes(tmp_path)
    path = tmp_path / "VOCdevkit" / "VOC2007" / "Annotations" / "000001.xml"
    path.write_text(xml_of("000001", [("cat", (3, 4, 22, 23), "rather")]))
    with pytest.raises(
        DatasetError, match=r"000001.xml .*an object 'cat' is 'rather' in <difficult>, which is neither"
    ):
        VOCBoxes(tmp_path, "train")


def test_voc_boxes_in_fractions_of_the_image_are_refused(tmp_path):
    write_voc_boxes(tmp_path)
    for name in ("000001", "000002"):
        path = tmp_path / "VOCdevkit" / "VOC2007" / "Annotations" / f"{name}.xml"
        path.write_text(xml_of(name, [("cat", (0.25, 0.5, 0.75, 1), 0)]))
    with pytest.raises(DatasetError, match=r"Annotations: the boxes are fractions of the image"):
        VOCBoxes(tmp_path, "train")


def test_voc_classes_are_left_out_by_name(tmp_path):
    write_voc_boxes(tmp_path)
    dataset = VOCBoxes(tmp_path, "train", classes=None, leave_out=["person"])
    assert dataset.info.classes == ("cat", "dog")
    assert dataset[0].instances.labels.tolist() == [0, 1]
    assert dataset.repairs == ("4 objects of classes in data.leave_out left out (first: 000001.xml)",)
    assert "person" not in VOCBoxes(tmp_path, "train", leave_out=["person"]).info.classes
    with pytest.raises(ConfigError, match=r"(?s)data.leave_out names 'persons', which no xml below .*mean person\?"):
        VOCBoxes(tmp_path, "train", classes=None, leave_out=["persons"])
    # One that is in no file may be meant for one that is.
    with pytest.raises(
        DatasetError, match=r"(?s)object 'person', which is no class.*data.leave_out=\[person\].*persons"
    ):
        VOCBoxes(tmp_path, "train", classes=["cat", "dog", "persons"])
    some = VOCBoxes(tmp_path, "train", classes=["dog", "cat"])
    assert (some.info.classes, some[0].instances.labels.tolist()) == (("dog", "cat"), [1, 0])
    assert some.repairs == ("4 objects of classes that are not chosen left out (first: 000001.xml)",)
    chosen = VOCBoxes(tmp_path, "train", classes=["dog", "cat"], leave_out=["person"])
    assert chosen[0].instances.labels.tolist() == [1, 0]


# Masks of objects.


def test_kitti_numbers_are_256_times_the_class(tmp_path):
    # A region of class 26 that is not parted, two objects of it, one of a class that is not chosen.
    write_instance_masks(tmp_path, ids=(26 * 256, 26 * 256 + 1, 26 * 256 + 2, 7 * 256 + 1))
    options = {"classes": ["person", "car"], "class_ids": [24, 26], "ids_per_class": 256}
    instances = InstanceMasks(tmp_path, "train", **options)[0].instances
    assert instances.labels.tolist() == [1, 1, 1]
    assert instances.crowd.tolist() == [True, False, False]
    np.testing.assert_array_equal(instances.masks, [mask_of(corners) for corners in PLACES[:3]])


@pytest.mark.parametrize("class_ids", [[24], [24, 24], [24, -1]])
def test_class_ids_that_cannot_be(tmp_path, class_ids):
    write_instance_masks(tmp_path)
    with pytest.raises(ConfigError, match=r"data.class_ids=\[24.*\] does not fit the classes person, car"):
        InstanceMasks(tmp_path, "train", classes=["person", "car"], class_ids=class_ids)


def write_coloured(root, classes=((250, 50, 83), (250, 50, 83), (10, 20, 30), (10, 20, 30))):
    """Write masks as CVAT and datumaro write them: objects in colours, classes in the colours of labelmap.txt."""
    lines = ("background 0 0 0", "cat 250 50 83", "dog 10 20 30")
    (root / "labelmap.txt").write_text("\n".join(lines))
    of_objects, of_classes = np.zeros((2, *SIZE, 3), np.uint8)
    for number, ((x1, y1, x2, y2), colour) in enumerate(zip(PLACES, classes, strict=True), 1):
        of_objects[y1:y2, x1:x2] = (128 * (number & 1), 60 * number, 5)
        of_classes[y1:y2, x1:x2] = colour
    for number, name in enumerate(("a", "b", "c", "d", "e", "f")):
        write_picture(root / "JPEGImages" / f"{name}.jpg", PLACES, number)
        for folder, mask in (("SegmentationObject", of_objects), ("SegmentationClass", of_classes)):
            (root / folder).mkdir(exist_ok=True)
            Image.fromarray(mask).save(root / folder / f"{name}.png")
    return root


COLOURED = {
    "images": "JPEGImages",
    "masks": "SegmentationObject",
    "class_masks": "SegmentationClass",
    "classes": "labelmap.txt",
    "splits": Splits(val_fraction=0.5),
}


class TestColouredObjects(DatasetContract):
    def make(self, root):
        return InstanceMasks(write_coloured(root), "train", **COLOURED)


def test_cvat_and_datumaro_objects_in_colours_have_the_class_beside_them(tmp_path):
    dataset = InstanceMasks(write_coloured(tmp_path), "train", **COLOURED)
    assert (dataset.info.classes, dataset.info.palette) == (("cat", "dog"), ((250, 50, 83), (10, 20, 30)))
    instances = dataset[0].instances
    found = {
        (int(label), *box) for label, box in zip(instances.labels, instances.boxes.astype(int).tolist(), strict=True)
    }
    assert found == {(label, *corners) for label, corners in zip((0, 0, 1, 1), PLACES, strict=True)}
    assert InstanceMasks(tmp_path, "train", **COLOURED, leave_out=["cat"])[0].instances.labels.tolist() == [0, 0]


def test_an_object_of_two_classes_or_none_is_refused(tmp_path):
    root = write_coloured(tmp_path)
    for name in "abcdef":
        path = root / "SegmentationClass" / f"{name}.png"
        mask = np.array(Image.open(path))
        mask[4, 4] = (10, 20, 30)
        Image.fromarray(mask).save(path)
    with pytest.raises(DatasetError, match=r"near \(x=2, y=3\), which is of several classes in .*SegmentationClass"):
        InstanceMasks(root, "train", **COLOURED).verify(0)
    write_coloured(tmp_path, ((0, 0, 0), (250, 50, 83), (10, 20, 30), (10, 20, 30)))
    with pytest.raises(DatasetError, match=r"near \(x=2, y=3\), which is of no class in .*SegmentationClass"):
        InstanceMasks(root, "train", **COLOURED).verify(0)


def test_objects_and_classes_may_be_numbers(tmp_path):
    write_instance_masks(tmp_path, ids=(1, 2, 3, 255))
    for split in ("train", "val"):
        for path in (tmp_path / split / "masks").iterdir():
            (tmp_path / split / "classes").mkdir(exist_ok=True)
            ids = np.asarray(Image.open(path))
            numbers = np.array([0, 2, 1, 2] + [255] * 252, np.uint8)
            Image.fromarray(numbers[ids]).save(tmp_path / split / "classes" / path.name)
    options = {"class_masks": "classes", "classes": ["nut", "bolt"]}
    instances = InstanceMasks(tmp_path, "train", **options)[0].instances
    assert instances.labels.tolist() == [1, 0, 1]  # the fourth is not known


def test_classes_of_numbers_are_left_out(tmp_path):
    write_instance_masks(tmp_path, ids=(1001, 2001, 2002, 1002))
    dataset = InstanceMasks(tmp_path, "train", classes=("nut", "bolt"), leave_out=["nut"])
    assert dataset.info.classes == ("bolt",)
    assert dataset[0].instances.labels.tolist() == [0, 0]
    assert dataset.repairs == ("objects of nut left out, by data.leave_out",)


# Cityscapes and panoptic trees.


def test_datumaro_cityscapes_has_no_folders_of_cities(tmp_path):
    write_cityscapes(tmp_path)
    for top in ("leftImg8bit", "gtFine"):
        for path in list((tmp_path / top / "train" / "aachen").iterdir()):
            path.rename(path.parents[1] / path.name)
        (tmp_path / top / "train" / "aachen").rmdir()
    dataset = Cityscapes(tmp_path, "train")
    assert dataset[0].id == "aachen_000000_000019"
    dataset.verify(0)


def test_instance_ids_without_an_instance_are_said(tmp_path):
    write_cityscapes(tmp_path, masks="labelIds", stored=(7, 26))
    for path in list((tmp_path / "gtFine" / "train").glob("*/*_labelIds.png")):
        ids = np.asarray(Image.open(path)).astype(np.uint16)
        Image.fromarray(ids).save(path.with_name(path.name.replace("labelIds", "instanceIds")))
    (line,) = Cityscapes(tmp_path, "train", instances=True).repairs
    assert "holds an instance" in line
    assert "groups, which are neither learnt nor counted" in line
    assert Cityscapes(tmp_path, "train").repairs == ()


def test_classes_of_cityscapes_objects_are_chosen(tmp_path):
    write_cityscapes_instances(tmp_path)
    every = Cityscapes(tmp_path, "val", instances=True)
    dataset = Cityscapes(tmp_path, "val", instances=True, choice=ClassChoice(classes=["car", "person"]))
    assert (dataset.info.classes, dataset.info.category_ids) == (("car", "person"), (26, 24))
    assert dataset.info.annotates == {"boxes", "instances"}
    names = [
        [one.info.classes[label] for label in one[0].instances.labels if one.info.classes[label] in ("car", "person")]
        for one in (every, dataset)
    ]
    assert names[0] == names[1]
    assert dataset[0].label_map is None
    with pytest.raises(ConfigError, match=r"(?s)choose among the objects of Cityscapes.*data.instances=true"):
        Cityscapes(tmp_path, "val", choice=ClassChoice(leave_out=["car"]))


def test_datumaro_coco_panoptic_has_names_of_its_own(tmp_path):
    write_coco_panoptic(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "train2017").rename(tmp_path / "images" / "default")
    for ending in ("", ".json"):
        stem = tmp_path / "annotations" / "panoptic_train2017"
        stem.with_name(f"{stem.name}{ending}").rename(stem.with_name(f"panoptic_default{ending}"))
    paths = {
        "images": "images/SPLIT",
        "annotations": "annotations/panoptic_SPLIT.json",
        "masks": "annotations/panoptic_SPLIT",
    }
    dataset = CocoPanoptic(tmp_path, "default", **paths)
    dataset.verify(0)
    with pytest.raises(DatasetNotFoundError, match=r"(?s)There is no .*images/train"):
        CocoPanoptic(tmp_path, "train", **paths)
    with pytest.raises(ConfigError, match=r"(?s)data.masks is not named, though other paths are.*Name all three"):
        CocoPanoptic(tmp_path, "default", **{**paths, "masks": None})
