"""What is written to be corrected is read back by coatseg's own readers: the same pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coatseg.data.images.sources import Source
from coatseg.registry.names import table
from coatseg.registry.options import check_options, construct
from coatseg.results.predict.canvas import Written
from coatseg.results.predict.forms.table import FORMS
from coatseg.structures import Dataset
from coatseg.system.fsspec_folders import Place
from tests.results.predict.forms.predictions import INFO, SIZE, label_map, objects, panoptic

SPLIT = {"split_by": "fraction", "val_fraction": 0.99}
COLUMNS = {"columns": ["ImageId", "ClassId", "EncodedPixels"]}
READ: dict[str, dict[str, Any]] = {
    "labelme": {**SPLIT, "images": "images", "annotations": "labelme"},
    "geojson": {**SPLIT, "images": "images", "annotations": "polygons"},
    "kaggle_rle": {**SPLIT, "images": "images", "annotations": "submission.csv"},
    "coco_json": {"images": {"val": "images"}, "annotations": {"val": "annotations.json"}},
    "yolo": {},
}
"""For each form, the options with which the reader of its name takes the folder of the output and images/ in it."""


def read_back(form: str, needs: str, written: Written, root: Path, options: dict[str, Any], **reading: Any) -> Dataset:
    (root / "images").mkdir()
    Image.new("RGB", SIZE[::-1]).save(root / "images" / "a.png")
    image = Source("a", "a.png", str(root / "images" / "a.png"))
    writer = FORMS[form][needs](Place(root), INFO, **options)
    writer.write(image, written, None)
    writer.conclude([image], pictures=False)
    reader = table("dataset")[form]
    given = check_options(
        reader, {"root": str(root), **READ[form], **reading}, given=frozenset({"split"}), name=form, key="data"
    )
    made: Dataset = construct(reader, given, split="val")
    return made


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("labelme", {}),
        ("labelme", {"polygons": True}),
        ("coco_json", {}),
        ("coco_json", {"polygons": True}),
        ("yolo", {}),
        ("geojson", {}),
        ("kaggle_rle", COLUMNS),
    ],
)
def test_objects_are_read_back_with_the_same_pixels(tmp_path: Path, form: str, options: dict[str, Any]) -> None:
    dataset = read_back(form, "instances", objects(), tmp_path, options)
    read = dataset[0].instances
    masks = objects().masks.numpy()
    expected = [masks[0], masks[1] & ~masks[0]] if form == "kaggle_rle" else list(masks[:3])
    assert [dataset.info.classes[label] for label in read.labels] == ["cat", "dog", "cat"][: len(expected)]
    assert all(np.array_equal(one, other) for one, other in zip(read.masks, expected, strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("labelme", {"leave_out": ["background"]}),
        ("geojson", {"leave_out": ["background"]}),
        ("kaggle_rle", COLUMNS),
    ],
)
def test_a_label_map_is_read_back_with_the_same_pixels(
    tmp_path: Path, form: str, options: dict[str, Any], seed: int
) -> None:
    written = label_map(seed)
    dataset = read_back(form, "semantic", written, tmp_path, options, semantic=True)
    assert dataset.info.classes == INFO.classes
    unsure = 255 if form == "labelme" else 0
    assert np.array_equal(dataset[0].label_map, np.where(written.labels == 255, unsure, written.labels))


@pytest.mark.parametrize("form", ["coco_json", "yolo"])
def test_a_label_map_as_objects_is_read_back_with_the_same_pixels(tmp_path: Path, form: str) -> None:
    written = label_map()
    dataset = read_back(form, "semantic", written, tmp_path, {})
    read = dataset[0].instances
    labels = np.full(SIZE, 255, np.uint8)
    for label, mask in zip(read.labels, read.masks, strict=True):
        labels[mask] = INFO.classes.index(dataset.info.classes[label])
    assert np.array_equal(labels, written.labels)


@pytest.mark.parametrize("form", ["labelme", "coco_json", "yolo", "geojson"])
def test_segments_are_read_back_with_the_same_pixels(tmp_path: Path, form: str) -> None:
    written = panoptic()
    read = read_back(form, "panoptic", written, tmp_path, {})
    found = read[0].instances
    assert [read.info.classes[label] for label in found.labels] == ["dog", "background", "cat"]  # the surest first
    for mask, number in zip(found.masks, (3, 2, 1), strict=True):
        assert np.array_equal(mask, written.ids.numpy() == number)
