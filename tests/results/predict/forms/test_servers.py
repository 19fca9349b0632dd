"""What servers and contests take: names, numbers, trees and zips."""

import csv
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coatseg.data.datasets.ade20k import ADE20K
from coatseg.data.datasets.cityscapes import Cityscapes
from coatseg.data.datasets.voc import VOC
from coatseg.errors import ConfigError
from coatseg.results.predict.canvas import LabelMap
from coatseg.results.predict.forms.kaggle_rle import run_lengths
from coatseg.results.predict.forms.table import FORMS, form_writer
from coatseg.structures import PREDICTION_KINDS, InstancePrediction
from coatseg.system.fsspec_folders import Place
from tests.results.models import small_predictor
from tests.results.predict.forms.predictions import (
    INFO,
    SIZE,
    label_map,
    layers,
    objects,
    panoptic,
    ragged,
    source,
    write,
)

FRAME = "frankfurt/frankfurt_000001_005898_leftImg8bit.png"
THINGS = replace(Cityscapes.info, annotates=frozenset({"semantic", "boxes", "instances"}))


def test_forms_are_for_kinds_of_predictions_that_there_are() -> None:
    kinds = {kind.truth for kind in PREDICTION_KINDS}
    assert all(set(writers) <= kinds for writers in FORMS.values())


def zipped(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def pixels(content: bytes) -> np.ndarray:
    """Read a grey PNG."""
    picture = Image.open(io.BytesIO(content))
    assert picture.mode == "L"
    return np.asarray(picture)


def test_cityscapes_takes_label_ids_under_the_names_of_its_frames(tmp_path: Path) -> None:
    labels = np.array([[0, 18, 255]], np.uint8)
    made = write("cityscapes", "semantic", LabelMap("a", labels), tmp_path, info=Cityscapes.info, image=source(FRAME))
    assert made.words.endswith("cityscapes's numbers, 7 to 33; pixels without a sure class are 0, unlabeled")
    files = zipped(tmp_path / "cityscapes.zip")
    assert list(files) == ["frankfurt_000001_005898_leftImg8bit.png"]
    assert pixels(files["frankfurt_000001_005898_leftImg8bit.png"]).tolist() == [[7, 33, 0]]


def test_classes_of_a_server_are_found_by_name_whatever_their_order(tmp_path: Path) -> None:
    info = replace(INFO, classes=("car", "road", "sky"), category_ids=(5, 6, 7))
    labels = np.array([[0, 1, 2]], np.uint8)
    write("cityscapes", "semantic", LabelMap("a", labels), tmp_path, info=info, image=source(FRAME))
    assert pixels(next(iter(zipped(tmp_path / "cityscapes.zip").values()))).tolist() == [[26, 7, 23]]
    with pytest.raises(ConfigError, match="for=cityscapes has no class background"):
        write("cityscapes", "semantic", LabelMap("a", labels), tmp_path, image=source(FRAME))


def test_cityscapes_objects_are_a_list_and_masks(tmp_path: Path) -> None:
    found = replace(objects(), labels=torch.tensor([13, 11, 18, 12]))
    write("cityscapes", "instances", found, tmp_path, info=THINGS, image=source(FRAME))
    files = zipped(tmp_path / "cityscapes.zip")
    stem = "frankfurt_000001_005898_leftImg8bit"
    lines = [line.split(" ") for line in files[f"{stem}.txt"].decode().splitlines()]
    assert [(name, int(number)) for name, number, _ in lines] == [
        (f"masks/{stem}_0.png", 26), (f"masks/{stem}_1.png", 24), (f"masks/{stem}_2.png", 33),
    ]  # fmt: skip
    assert [float(score) for *_, score in lines] == found.scores.tolist()[:3]
    for (name, *_), mask in zip(lines, found.masks.numpy(), strict=False):
        assert np.array_equal(pixels(files[name]) != 0, mask)
    assert set(files) == {f"{stem}.txt", *(name for name, *_ in lines)}


def test_cityscapes_segments_are_cocos_format_by_frame_and_label_id(tmp_path: Path) -> None:
    info = replace(INFO, classes=("road", "car", "person"), category_ids=())
    write("cityscapes", "panoptic", panoptic(), tmp_path, info=info, image=source(FRAME))
    files = zipped(tmp_path / "cityscapes.zip")
    png = "cityscapes_panoptic/frankfurt_000001_005898_panoptic.png"
    assert set(files) == {"cityscapes_panoptic.json", png}
    (annotation,) = json.loads(files["cityscapes_panoptic.json"])["annotations"]
    assert (annotation["image_id"], annotation["file_name"]) == ("frankfurt_000001_005898", Path(png).name)
    assert [row["category_id"] for row in annotation["segments_info"]] == [26, 7, 24]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(files[png])))[..., 0], panoptic().ids.numpy())


def test_an_image_that_the_tools_of_cityscapes_could_not_find_is_refused_before_the_first(tmp_path: Path) -> None:
    for needs, info in (("semantic", Cityscapes.info), ("instances", THINGS), ("panoptic", THINGS)):
        writer = FORMS["cityscapes"][needs](Place(tmp_path), info)
        with pytest.raises(ConfigError, match=r"a\.png is not called CITY_"):
            writer.check([source(FRAME), source("a.png")])


def test_ade20k_takes_1_to_150_under_the_names_of_its_images(tmp_path: Path) -> None:
    image = source("testing/ADE_test_00000001.jpg")
    labels = np.array([[0, 149, 255]], np.uint8)
    write("ade20k", "semantic", LabelMap("a", labels), tmp_path, info=ADE20K.info, image=image)
    files = zipped(tmp_path / "ade20k.zip")
    assert {name: pixels(content).tolist() for name, content in files.items()} == {
        "ADE_test_00000001.png": [[1, 150, 0]]
    }


def test_voc_takes_its_palette_in_its_tree_and_no_void(tmp_path: Path) -> None:
    labels = np.array([[0, 20, 255]], np.uint8)
    write("voc", "semantic", LabelMap("a", labels), tmp_path, info=VOC.info, image=source("2008_000006.jpg"))
    files = zipped(tmp_path / "voc.zip")
    (name,) = files
    assert name == "results/VOC2012/Segmentation/comp6_test_cls/2008_000006.png"
    picture = Image.open(io.BytesIO(files[name]))
    assert np.asarray(picture).tolist() == [[0, 20, 0]]
    assert picture.convert("RGB").getpixel((1, 0)) == VOC.info.palette[20]


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    writer = FORMS["ade20k"]["semantic"](Place(tmp_path), ADE20K.info)
    with pytest.raises(ConfigError, match=r"x/a\.jpg and y/a\.jpg are both called a"):
        writer.check([source("x/a.jpg"), source("y/a.jpg")])


def test_a_zip_that_lacks_images_says_so(tmp_path: Path) -> None:
    writer = FORMS["ade20k"]["semantic"](Place(tmp_path), ADE20K.info)
    writer.write(source("a.jpg"), LabelMap("a", np.zeros((1, 1), np.uint8)), None)
    assert writer.conclude([source("a.jpg"), source("b.jpg")], pictures=False).startswith("ade20k.zip: 1 of 2 images")
    assert writer.conclude([source("a.jpg")], pictures=False) == "ade20k.zip: 1 image"


COCO_INFO = replace(INFO, annotates=frozenset({"instances"}), category_ids=(1, 17, 18))


def truth_of(found: InstancePrediction, folder: Path, number: int = 139) -> Path:
    """A json of COCO's own form in which every object with pixels is true."""
    write("coco_json", "instances", found, folder, info=COCO_INFO, image=source(f"{number:012d}.jpg"))
    return folder / "annotations.json"


def test_coco_results_are_lists_of_masks_and_of_boxes_that_load_res_takes(tmp_path: Path) -> None:
    found = objects()
    write("coco", "instances", found, tmp_path / "out", info=COCO_INFO, image=source("000000000139.jpg"))
    truth = COCO(truth_of(found, tmp_path / "truth"))
    masks = truth.loadRes(str(tmp_path / "out" / "detections.json"))
    rows = masks.loadAnns(masks.getAnnIds(imgIds=[139]))
    assert [row["area"] for row in rows] == found.masks.sum((1, 2)).tolist()
    assert [row["category_id"] for row in rows] == [17, 18, 17, 18]
    assert all(np.array_equal(masks.annToMask(row), mask) for row, mask in zip(rows, found.masks.numpy(), strict=True))
    boxes = truth.loadRes(str(tmp_path / "out" / "detections_boxes.json"))
    assert [row["area"] for row in boxes.loadAnns(boxes.getAnnIds())] == [170.0, 744.0, 1.0, 1.0]
    evaluation = COCOeval(truth, masks, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    assert evaluation.eval["precision"][0, :, 1:, 0, -1].min() == pytest.approx(1)


def test_coco_ids_and_categories_are_those_of_the_json_of_the_images(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 55, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    path = tmp_path / "image_info_test.json"
    path.write_text(json.dumps(content))
    write("coco", "boxes", objects(masks=False), tmp_path / "out", image=source("test/a.png"), json=str(path))
    rows = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert {row["image_id"] for row in rows} == {55}
    assert [row["category_id"] for row in rows] == [3, 90, 3, 90]
    assert all(set(row) == {"image_id", "category_id", "bbox", "score"} for row in rows)
    writer = FORMS["coco"]["boxes"](Place(tmp_path / "other"), INFO, json=str(path))
    with pytest.raises(ConfigError, match=r"image_info_test\.json has no image b\.png"):
        writer.check(writer.chosen([source("b.png")]))
    assert writer.chosen([source("b.png"), source("deep/a.png")]) == [source("deep/a.png")]
    with pytest.raises(ConfigError, match=r"not called by one, as 000000000139\.jpg is"):
        FORMS["coco"]["boxes"](Place(tmp_path / "other"), INFO).check([source("b.png")])


COCO_CLASSES = replace(INFO, classes=("sky-other-merged", "cat", "dog"))


def test_coco_segments_have_the_names_and_the_categories_of_its_server(tmp_path: Path) -> None:
    image = source("val2017/000000000139.jpg")
    write("coco", "panoptic", panoptic(), tmp_path, info=COCO_CLASSES, image=image, method="mine", split="val2017")
    name = "panoptic_val2017_mine_results"
    files = zipped(tmp_path / f"{name}.zip")
    assert set(files) == {f"{name}.json", f"{name}/000000000139.png"}
    assert files[f"{name}.json"] == (tmp_path / f"{name}.json").read_bytes()
    (annotation,) = json.loads(files[f"{name}.json"])["annotations"]
    assert (annotation["image_id"], annotation["file_name"]) == (139, "000000000139.png")
    assert [row["category_id"] for row in annotation["segments_info"]] == [17, 187, 18]


def test_coco_segments_are_of_the_images_that_the_json_names(tmp_path: Path) -> None:
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 4, "width": 4} for number in (5, 6)]
    path = tmp_path / "image_info_test.json"
    path.write_text(json.dumps({"images": images, "categories": [{"id": 17, "name": "cat"}]}))
    writer = FORMS["coco"]["panoptic"](Place(tmp_path / "out"), COCO_CLASSES, json=str(path))
    chosen = writer.chosen([source("5.jpg"), source("7.jpg")])
    assert chosen == [source("5.jpg")]
    writer.check(chosen)
    writer.write(chosen[0], panoptic(), None)
    assert writer.conclude(chosen, pictures=False).startswith("panoptic_test-dev2017_coatseg_results.zip: 1 of 2")
    with pytest.raises(ConfigError, match="for=coco has no class background"):
        FORMS["coco"]["panoptic"](Place(tmp_path / "out"), INFO)
    with pytest.raises(ConfigError, match=r"for\.method=a/b cannot be part of a file's name"):
        FORMS["coco"]["panoptic"](Place(tmp_path / "out"), COCO_CLASSES, method="a/b")


def decoded(text: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Decode run lengths as Kaggle states them: from 1, down the columns."""
    numbers = [int(word) for word in text.split()]
    flat = np.zeros(size[0] * size[1], bool)
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        assert not flat[start - 1 : start - 1 + length].any()
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(size[1], size[0]).T


def rows_of(folder: Path) -> list[list[str]]:
    with (folder / "submission.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_run_lengths_count_from_one_down_the_columns() -> None:
    mask = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]], bool)
    assert run_lengths(mask) == "1 2 6 2"
    assert run_lengths(np.zeros((2, 2), bool)) == ""
    assert run_lengths(np.ones((2, 3), bool)) == "1 6"


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_written_and_decoded_are_identical(seed: int) -> None:
    mask = ragged(seed)
    text = run_lengths(mask)
    assert np.array_equal(decoded(text), mask)
    starts = [int(word) for word in text.split()[::2]]
    assert starts == sorted(starts)


def test_a_kaggle_csv_of_objects_has_no_pixel_twice_and_the_surer_object_keeps_it(tmp_path: Path) -> None:
    found = objects()
    write("kaggle_rle", "instances", found, tmp_path, info=INFO, columns=["ImageId", "ClassId", "EncodedPixels"])
    header, *rows = rows_of(tmp_path)
    assert header == ["ImageId", "ClassId", "EncodedPixels"]
    masks = found.masks.numpy()
    expected = [masks[0], masks[1] & ~masks[0], masks[2] & ~masks[1] & ~masks[0]]
    assert [row[:2] for row in rows] == [["a", "cat"], ["a", "dog"], ["a", "cat"]][: len(rows)]
    got = [decoded(text) for *_, text in rows]
    assert all(
        np.array_equal(one, other) for one, other in zip(got, [mask for mask in expected if mask.any()], strict=True)
    )
    assert sum(mask.astype(int) for mask in got).max() == 1


def test_a_kaggle_csv_of_one_class_has_an_empty_row_for_an_image_without_it(tmp_path: Path) -> None:
    info = replace(INFO, classes=("background", "cat"), things=())
    writer = FORMS["kaggle_rle"]["semantic"](Place(tmp_path), info)
    labels = ragged(0).astype(np.uint8)
    images = [source("x/a.png"), source("x/b.png")]
    writer.write(images[0], LabelMap("a", labels), None)
    writer.write(images[1], LabelMap("b", np.zeros(SIZE, np.uint8)), None)
    assert writer.conclude(images, pictures=False) == "submission.csv: 2 images"
    header, first, second = rows_of(tmp_path)
    assert header == ["ImageId", "EncodedPixels"]
    assert first[0] == "a"
    assert np.array_equal(decoded(first[1]), labels == 1)
    assert second == ["b", ""]


def test_a_kaggle_csv_with_a_class_column_has_every_class_of_every_image(tmp_path: Path) -> None:
    columns = ["id", "class", "segmentation"]
    write("kaggle_rle", "multilabel", layers(), tmp_path, columns=columns, suffix=True, classes=["dog", "cat"])
    _, *rows = rows_of(tmp_path)
    assert [row[:2] for row in rows] == [["a.png", "dog"], ["a.png", "cat"]]
    assert np.array_equal(decoded(rows[0][2]), layers().layers[2])
    assert rows[1][2] == ""


def test_a_kaggle_csv_that_could_not_tell_classes_apart_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot tell 2 classes apart"):
        write("kaggle_rle", "semantic", label_map(), tmp_path)
    with pytest.raises(ConfigError, match="Did you mean dog"):
        write("kaggle_rle", "semantic", label_map(), tmp_path, classes=["dogs"])
    with pytest.raises(ConfigError, match=r"for\.classes has dog twice"):
        write("kaggle_rle", "semantic", label_map(), tmp_path, classes=["dog", "dog"])
    with pytest.raises(ConfigError, match=r"for\.columns has 2 names and one of them twice"):
        write("kaggle_rle", "semantic", label_map(), tmp_path, classes=["dog"], columns=["id", "id"])


def test_images_of_one_name_in_two_folders_keep_their_paths_in_a_csv(tmp_path: Path) -> None:
    info = replace(INFO, classes=("cat",), things=())
    writer = FORMS["kaggle_rle"]["semantic"](Place(tmp_path), info)
    images = [source("x/a.png"), source("y/a.png")]
    for image in images:
        writer.write(image, LabelMap("a", np.zeros((1, 1), np.uint8)), None)
    writer.conclude(images, pictures=False)
    assert [row[0] for row in rows_of(tmp_path)] == ["ImageId", "x/a", "y/a"]


def test_a_form_for_other_predictions_is_refused_and_others_named(tmp_path: Path) -> None:
    task = small_predictor().task
    with pytest.raises(
        ConfigError, match=r"for=coco takes what models for boxes or instances or panoptic labels.*\n.*voc"
    ):
        form_writer({"name": "coco"}, task, Place(tmp_path))
    with pytest.raises(ConfigError, match="Did you mean geojson"):
        form_writer({"name": "geojsn"}, task, Place(tmp_path))
    with pytest.raises(ConfigError, match=r"for\.pixel is no option of geojson"):
        form_writer({"name": "geojson", "pixel": True}, task, Place(tmp_path))
    with pytest.raises(ConfigError, match=r"for\.pixels=3 does not fit"):
        form_writer({"name": "geojson", "pixels": 3}, task, Place(tmp_path))
