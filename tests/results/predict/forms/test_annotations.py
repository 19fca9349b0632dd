"""Predictions as annotations to correct: read back by the format itself they give the same pixels."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO

from coatseg.data.datasets.coco_json import CocoJson
from coatseg.data.images.sources import Source
from coatseg.errors import ConfigError
from coatseg.results.predict.forms.table import FORMS
from coatseg.results.predict.writers import Writer
from coatseg.system.fsspec_folders import Place
from tests.results.predict.forms.predictions import INFO, SIZE, label_map, layers, objects, source, write

NAMES = INFO.classes


def content_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "labelme" / "a.json").read_text())
    return content


def mask_of(shape: dict[str, Any]) -> np.ndarray:
    """Paint a mask of LabelMe: two corners, both inside it, and a PNG."""
    (x1, y1), (x2, y2) = shape["points"]
    crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))).astype(bool)
    assert crop.shape == (y2 - y1 + 1, x2 - x1 + 1)
    whole = np.zeros(SIZE, bool)
    whole[y1 : y2 + 1, x1 : x2 + 1] = crop
    return whole


def painted(*polygons: list[Any]) -> np.ndarray:
    """Paint polygons as pycocotools does: those of one object are joined."""
    flat = [np.ravel(polygon).tolist() for polygon in polygons]
    return coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects(flat, *SIZE))).astype(bool)


@pytest.mark.parametrize("seed", range(4))
def test_a_label_map_as_masks_of_labelme_is_exact(tmp_path: Path, seed: int) -> None:
    written = label_map(seed)
    write("labelme", "semantic", written, tmp_path)
    numbers = {**{name: label for label, name in enumerate(NAMES)}, "__ignore__": 255}
    labels = np.full(SIZE, 254, np.uint8)
    for shape in content_of(tmp_path)["shapes"]:
        labels[mask_of(shape)] = numbers[shape["label"]]
    assert np.array_equal(labels, written.labels)


def test_objects_as_masks_of_labelme_are_exact_and_none_is_empty(tmp_path: Path) -> None:
    found = objects()
    write("labelme", "instances", found, tmp_path)
    content = content_of(tmp_path)
    assert (content["imageHeight"], content["imageWidth"]) == SIZE
    assert [shape["label"] for shape in content["shapes"]] == ["cat", "dog", "cat"]
    assert content["shapes"][0]["description"] == "score 0.900"
    for shape, mask in zip(content["shapes"], found.masks.numpy(), strict=False):
        assert shape["shape_type"] == "mask"
        assert np.array_equal(mask_of(shape), mask)


def test_boxes_are_rectangles_of_labelme(tmp_path: Path) -> None:
    write("labelme", "boxes", objects(masks=False), tmp_path)
    shapes = content_of(tmp_path)["shapes"]
    assert shapes[0]["shape_type"] == "rectangle"
    assert shapes[0]["points"] == [[3.0, 2.0], [20.0, 12.0]]


def test_polygons_of_labelme_paint_the_same_pixels_and_parts_share_a_group(tmp_path: Path) -> None:
    found = objects()
    write("labelme", "instances", found, tmp_path, polygons=True)
    shapes = content_of(tmp_path)["shapes"]
    single = [shape for shape in shapes if shape["group_id"] is None]
    parts = [shape["points"] for shape in shapes if shape["group_id"] == 2]
    assert len(parts) > 1
    assert np.array_equal(painted(single[0]["points"]), found.masks[0].numpy())
    assert np.array_equal(painted(*parts), found.masks[1].numpy())


def test_labelme_finds_the_image_from_its_json(tmp_path: Path) -> None:
    image = Source("deep/a", "deep/a.png", str(tmp_path / "images" / "deep" / "a.png"))
    write("labelme", "semantic", label_map(), tmp_path / "out", image=image)
    path = tmp_path / "out" / "labelme" / "deep" / "a.json"
    found = (path.parent / json.loads(path.read_text())["imagePath"]).resolve()
    assert found == (tmp_path / "images" / "deep" / "a.png").resolve()


def test_coco_json_is_read_back_by_coatseg_with_the_same_pixels(tmp_path: Path) -> None:
    found = objects()
    write("coco_json", "instances", found, tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text())
    assert all(row["iscrowd"] == 0 for row in content["annotations"])
    assert content["annotations"][2]["bbox"] == [30, 0, 1, 1]
    (tmp_path / "images").mkdir()
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "images" / "a.png")
    dataset = CocoJson(tmp_path, "all", annotations={"all": "annotations.json"}, images={"all": "images"})
    assert not dataset.repairs
    read = dataset[0].instances
    assert [dataset.info.classes[label] for label in read.labels] == ["cat", "dog", "cat"]
    assert np.array_equal(read.masks, found.masks.numpy()[:3])


@pytest.mark.parametrize("polygons", [False, True])
def test_a_label_map_as_coco_json_is_a_mask_a_class(tmp_path: Path, polygons: bool) -> None:
    written = label_map()
    write("coco_json", "semantic", written, tmp_path, polygons=polygons)
    coco = COCO(tmp_path / "annotations.json")
    labels = np.full(SIZE, 255, np.uint8)
    for row in coco.loadAnns(coco.getAnnIds()):
        labels[coco.annToMask(row).astype(bool)] = row["category_id"]
    assert np.array_equal(labels, written.labels)


def lines_of(folder: Path) -> list[tuple[int, np.ndarray]]:
    lines = [line.split() for line in (folder / "labels" / "a.txt").read_text().splitlines()]
    return [(int(label), np.array(list(map(float, shares))).reshape(-1, 2) * SIZE[::-1]) for label, *shares in lines]


@pytest.mark.parametrize("seed", range(4))
def test_a_label_map_as_yolo_polygons_paints_the_same_pixels(tmp_path: Path, seed: int) -> None:
    written = label_map(seed)
    write("yolo", "semantic", written, tmp_path)
    labels = np.full(SIZE, 255, np.uint8)
    for label, corners in lines_of(tmp_path):
        labels[painted(corners)] = label
    assert np.array_equal(labels, written.labels)


def test_an_object_of_parts_and_holes_is_one_line_of_yolo(tmp_path: Path) -> None:
    found = objects()
    write("yolo", "instances", found, tmp_path)
    lines = lines_of(tmp_path)
    assert [label for label, _ in lines] == [1, 2, 1]
    for (_, corners), mask in zip(lines, found.masks.numpy(), strict=False):
        assert np.array_equal(painted(corners), mask)


def test_boxes_of_yolo_are_centres_and_sizes_and_data_yaml_has_the_names(tmp_path: Path) -> None:
    write("yolo", "boxes", objects(masks=False), tmp_path)
    label, ((x, y), (width, height)) = lines_of(tmp_path)[0]
    assert label == 1
    assert (x, y, width, height) == pytest.approx((11.5, 7, 17, 10))
    stated = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert stated["names"] == dict(enumerate(NAMES))
    assert "path" not in stated  # "." is where ultralytics is run, none is where the yaml lies


def test_labels_of_yolo_are_named_as_its_tools_look_for_them(tmp_path: Path) -> None:
    write(
        "yolo", "boxes", objects(masks=False), tmp_path, image=Source("deep/a", "deep/a.ome.tif", "/i/deep/a.ome.tif")
    )
    assert (tmp_path / "labels" / "deep" / "a.ome.txt").is_file()
    twice = [Source("a.png", "a.png", "/i/a.png"), Source("a.jpg", "a.jpg", "/i/a.jpg")]
    with pytest.raises(ConfigError, match=r"a\.png and a\.jpg are both called labels/a\.txt.*\nRename one"):
        FORMS["yolo"]["boxes"](Place(tmp_path), INFO).check(twice)


@pytest.mark.parametrize("form", ["labelme", "coco_json", "yolo", "geojson", "geopackage"])
def test_classes_can_be_left_out_of_what_is_corrected(tmp_path: Path, form: str) -> None:
    writer: Writer = FORMS[form]["multilabel"](Place(tmp_path / "all"), INFO)
    fewer: Writer = FORMS[form]["multilabel"](Place(tmp_path / "few"), INFO, leave_out=["background", "dog"])
    sizes = []
    for one in (writer, fewer):
        one.write(source(), layers(), None)
        one.conclude([source()], pictures=False)
        assert one.done(source())
        sizes.append(sum(len(one.place.read(f"{folder}/a{end}")) for folder, end in [ENDS[form]]))
    assert sizes[1] < sizes[0]


ENDS = {
    "labelme": ("labelme", ".json"),
    "coco_json": ("objects", ".json"),
    "yolo": ("labels", ".txt"),
    "geojson": ("polygons", ".geojson"),
    "geopackage": ("polygons", ".gpkg"),
}
