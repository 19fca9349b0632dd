"""Which export a folder is, and the line that trains with it: every export is named, opened and read as it is meant."""

import contextlib
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coatseg.commands.inspect_data import OWN
from coatseg.commands.terminal.arguments import read_keys
from coatseg.commands.terminal.composition import compose_typed
from coatseg.config.data import open_split
from coatseg.config.read import read_data
from coatseg.data.recognition import Candidate, recognise
from coatseg.errors import DatasetError, DatasetNotFoundError
from coatseg.structures import Dataset, Sample
from tests.conftest import ROOT
from tests.contracts.dataset import check_sample
from tests.data.exports import EXPORTS, LABELS, WHOLE, Export
from tests.data.exports.scene import PICTURES, SPLITS, label_map, write_image, write_mask
from tests.data.generate import write_camvid, write_folder, write_layers
from tests.data.objects import write_coco, write_coco_json, write_instance_masks, write_voc_boxes
from tests.data.official import (
    write_ade20k,
    write_cityscapes,
    write_coco_panoptic,
    write_coco_stuff,
    write_panoptic_json,
    write_voc,
)


def opened(candidate: Candidate, root: Path) -> list[Dataset]:
    """Open train and val as the printed line says."""
    arguments = candidate.data_arguments(root)
    options = read_keys(arguments, "inspect", OWN, "", sections=("data",), groups=("data",))
    plan = read_data(options["data"])
    return [open_split(plan, split) for split in ("train", "val")]


def picture_of(sample: Sample) -> str:
    """The picture that a sample shows, by the name of its file."""
    return next(name for name in PICTURES if name in Path(sample.file).name)


def content_of(sample: Sample, classes: tuple[str, ...]) -> Any:
    """What a sample holds, as exports state it."""
    if sample.instances is not None:
        found = sample.instances
        areas = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(1) if found.masks is None else found.masks.sum((1, 2))
        rows = zip(found.labels, areas, found.boxes.tolist(), found.crowd, strict=True)
        return sorted(
            (classes[label], int(area), tuple(round(x, 2) for x in box))
            for label, area, box, crowd in rows
            if not crowd
        )
    if sample.layers is not None:
        counts = sample.layers.sum((0, 1))
    else:
        counts = np.bincount(sample.label_map.ravel(), minlength=256)[: len(classes)]
    return {name: int(n) for name, n in zip(classes, counts, strict=True) if n and name not in ("background", "void")}


def stated(truth: Any) -> Any:
    return dict(truth) if isinstance(truth, Mapping) else sorted(truth)


def check_name(best: Candidate, root: Path, export: Export) -> None:
    """Check what an export is called, and the line that trains with it."""
    assert best.name == export.name
    data, _, rest = export.arguments.partition(" ")
    assert shlex.split(best.line(root)) == f"{data} data.root={root} {rest}".split()
    assert bool(best.first) == (export.truth is None)


def check_export(best: Candidate, root: Path, truth: Any) -> None:
    """Check that what the line opens holds what the pictures show; what cannot be read as it is has no truth."""
    if truth is None:
        return
    seen = {}
    for dataset in opened(best, root):
        for index in range(len(dataset)):
            sample = dataset[index]
            check_sample(sample, dataset.info)
            seen[picture_of(sample)] = content_of(sample, dataset.info.classes)
    assert seen == {picture: stated(content) for picture, content in truth.items()}


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_named_and_its_line_printed(tmp_path: Path, name: str) -> None:
    root, (best, *_) = recognise(EXPORTS[name].write(tmp_path / name))
    check_name(best, root, EXPORTS[name])


def test_the_page_on_exports_has_the_line_of_every_export() -> None:
    rows = dict(re.findall(r"^\| (.+?) \| `(.+)` \|$", (ROOT / "docs" / "own-data.md").read_text(), re.MULTILINE))
    lines = {
        export.name: export.arguments.replace(" ", " data.root=export ", 1)
        for export in EXPORTS.values()
        if export.truth is not None
    }
    assert rows == lines


@pytest.mark.parametrize("name", [name for name, export in EXPORTS.items() if export.truth is not None])
def test_an_export_is_read_as_its_line_says(tmp_path: Path, name: str) -> None:
    root, (best, *_) = recognise(EXPORTS[name].write(tmp_path / name))
    check_export(best, root, EXPORTS[name].truth)


@pytest.mark.parametrize(("name", "suffix"), [("labelme", "json"), ("qupath", "geojson")])
def test_images_without_an_annotation_file_are_left_out_by_the_line(tmp_path: Path, name: str, suffix: str) -> None:
    folder = EXPORTS[name].write(tmp_path / name)
    next(folder.rglob(f"*empty*.{suffix}")).unlink()
    root, (best, *_) = recognise(folder)
    assert "data.without_annotation=leave_out" in best.arguments(root)
    check_export(best, root, {picture: WHOLE[picture] for picture in ("pair", "holes")})


OBJECTS = {
    "cvat_masks": "data=instance_masks data.images=JPEGImages data.masks=SegmentationObject "
    "data.class_masks=SegmentationClass data.classes=labelmap.txt data.lists=ImageSets/Segmentation/default.txt "
    "data.without_annotation=leave_out task=inst",
    "datumaro_kitti": "data=instance_masks data.images=image_2 data.masks=instance data.ids_per_class=256 "
    "data.classes=[cat,dog] data.class_ids=[1,2] data.without_annotation=leave_out task=inst",
}
"""The lines that read objects where the first one reads labels of pixels."""


@pytest.mark.parametrize("name", OBJECTS)
def test_masks_of_objects_beside_those_of_classes_have_a_line_too(tmp_path: Path, name: str) -> None:
    root, (best, objects, *_) = recognise(EXPORTS[name].write(tmp_path / name))
    data, *rest = OBJECTS[name].split()
    assert objects.sure == best.sure  # it is printed
    assert objects.arguments(root) == [data, f"data.root={root}", *rest]


@pytest.mark.parametrize("name", OBJECTS)
def test_masks_of_objects_are_read(tmp_path: Path, name: str) -> None:
    root, (_, objects, *_) = recognise(EXPORTS[name].write(tmp_path / name))
    check_export(objects, root, {name: things for name, things in WHOLE.items() if things})


OFFICIAL = {
    "ade20k": write_ade20k,
    "camvid": write_camvid,
    "cityscapes": write_cityscapes,
    "voc": write_voc,
    "coco": write_coco,
    "coco_panoptic": write_coco_panoptic,
    "coco_stuff": write_coco_stuff,
}


@pytest.mark.parametrize("data", OFFICIAL)
def test_a_published_dataset_has_its_own_reader(tmp_path: Path, data: str) -> None:
    root, (best, *_) = recognise(OFFICIAL[data](tmp_path / "published"))
    assert best.arguments(root) == [f"data={data}", f"data.root={root}", *(["task=inst"] if data == "coco" else [])]
    assert all(len(dataset) for dataset in opened(best, root))


OWN_DATA: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a fraction": (write_folder, "data=folder"),
    "splits in folders": (lambda root: write_folder(root, layout="folders"), "data=folder"),
    "lists": (lambda root: write_folder(root, layout="lists"), "data=folder"),
    "layers": (lambda root: write_layers(root, ["road", "car"]), "data=folder data.layers=true task=multilabel"),
    "a json": (write_coco_json, "data=coco_json data.annotations=annotations.json data.images=images task=inst"),
    "segments": (
        write_panoptic_json,
        "data=panoptic_json data.images=images data.annotations=panoptic.json data.masks=panoptic",
    ),
}


@pytest.mark.parametrize("kind", OWN_DATA)
def test_data_of_one_s_own_is_recognised(tmp_path: Path, kind: str) -> None:
    write, arguments = OWN_DATA[kind]
    write(tmp_path / "mine")
    root, (best, *_) = recognise(tmp_path / "mine")
    data, *rest = arguments.split()
    assert best.arguments(root) == [data, f"data.root={root}", *rest]
    assert all(len(dataset) for dataset in opened(best, root))


def test_masks_without_a_list_of_classes_ask_for_one_and_may_number_objects(tmp_path: Path) -> None:
    write_instance_masks(tmp_path)
    root, (best, objects) = recognise(tmp_path)
    assert "classes.txt" in best.first
    assert objects.sure == best.sure  # it is printed
    assert objects.arguments(root) == ["data=instance_masks", f"data.root={root}", "task=inst"]
    assert len(opened(objects, root)[0])


def test_masks_beside_their_images_are_told_by_their_ending(tmp_path: Path) -> None:
    for name in PICTURES:
        for split in ("train", "valid"):
            write_image(tmp_path / split / f"{split}_{name}.jpg", name)
            write_mask(tmp_path / split / f"{split}_{name}_gt.png", label_map(name))
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    root, (best, *_) = recognise(tmp_path)
    data, *rest = ["data=folder", "data.images=.", "data.masks=.", "data.mask_ending=_gt"]
    assert best.arguments(root) == [data, f"data.root={root}", *rest]
    check_export(best, root, LABELS)


@pytest.mark.parametrize("name", ["labelme", "qupath"])
def test_images_without_a_file_are_left_out_by_an_option_of_the_reader(tmp_path: Path, name: str) -> None:
    root, (best, *_) = recognise(EXPORTS[name].write(tmp_path / name))
    next(path for path in root.rglob("empty.*") if path.suffix in (".json", ".geojson")).unlink()
    root, (best, *_) = recognise(root)
    assert best.options["without_annotation"] == "leave_out"
    check_export(best, root, {picture: things for picture, things in WHOLE.items() if things})


@pytest.mark.parametrize("layout", ["{split}/{kind}", "{kind}/{split}"])
def test_files_of_outlines_in_folders_of_splits_have_folders_without_their_names(tmp_path: Path, layout: str) -> None:
    made = EXPORTS["qupath"].write(tmp_path / "made")
    for split, names in SPLITS.items():
        for kind, suffix in (("images", "tif"), ("labels", "geojson")):
            folder = tmp_path / "mine" / layout.format(split=split, kind=kind)
            folder.mkdir(parents=True)
            for name in names:
                next(made.rglob(f"{name}.{suffix}")).rename(folder / f"{name}.{suffix}")
    root, (best, *_) = recognise(tmp_path / "mine")
    assert best.options == {"images": "images", "annotations": "labels"}
    check_export(best, root, WHOLE)


def test_xml_files_of_one_split_alone_are_parted_by_a_hash(tmp_path: Path) -> None:
    made = EXPORTS["supervision_boxes"].write(tmp_path / "made")
    (tmp_path / "mine").mkdir()
    made.rename(tmp_path / "mine" / "train")
    (tmp_path / "mine" / "readme.txt").write_text("not a folder of one folder")
    root, (best, *_) = recognise(tmp_path / "mine")
    places = {"annotations": "train/annotations", "images": "train/images", "split_by": "fraction"}
    assert places.items() <= best.options.items()
    check_export(best, root, EXPORTS["supervision_boxes"].truth)


def test_tables_of_run_lengths_may_be_one_a_split_and_submissions_are_none(tmp_path: Path) -> None:
    root = EXPORTS["kaggle"].write(tmp_path)
    header, *rows = (root / "train.csv").read_text().splitlines()
    for split, names in {"train": SPLITS["train"], "valid": SPLITS["val"]}.items():
        (root / f"{split}.csv").write_text("\n".join([header, *(row for row in rows if row.startswith(names))]))
    (root / "valid").mkdir()
    (root / "train" / "holes.png").rename(root / "valid" / "holes.png")
    (root / "sample_submission.csv").write_text("ImageId,EncodedPixels\nholes,1 1\n")
    _, (best, *others) = recognise(root)
    assert best.options == {"annotations": "SPLIT.csv", "images": ".", "split_by": "folders"}
    assert not others
    check_export(best, root, EXPORTS["kaggle"].truth)


def test_a_json_called_as_the_folder_of_its_images_finds_them(tmp_path: Path) -> None:
    made = EXPORTS["datumaro_coco"].write(tmp_path)
    for split in SPLITS:
        (made / "images" / split).rename(made / split)
        (made / f"annotations/instances_{split}.json").rename(made / f"{split}.json")
    root, (best, *_) = recognise(made)
    assert best.options["images"] == {"train": "train", "val": "val"}
    check_export(best, root, WHOLE)


def test_corners_that_begin_at_1_and_never_at_0_count_from_1(tmp_path: Path) -> None:
    root, (best, *_) = recognise(write_voc_boxes(tmp_path / "edges", names=("cat", "dog", "cat", "dog")))
    assert best.options["one_based"] is False
    for path in (tmp_path / "edges").rglob("*.xml"):
        path.write_text(re.sub("<xmin>[0-9.]+<", "<xmin>1<", path.read_text()))
    root, (best, *_) = recognise(tmp_path / "edges")
    assert best.options["one_based"] is True
    assert "counted from 1" in best.notes[0]
    assert not any("beginning at" in line for line in opened(best, root)[0].repairs)


def test_several_published_datasets_in_a_folder_are_not_mixed(tmp_path: Path) -> None:
    write_voc(tmp_path / "voc")
    write_camvid(tmp_path / "camvid")
    with pytest.raises(DatasetError, match=r"more than a dataset: camvid is CamVid .*, voc is Pascal VOC.\nName the f"):
        recognise(tmp_path)


def test_annotations_without_an_image_are_named_and_the_lack_is_said(tmp_path: Path) -> None:
    root = EXPORTS["labelme"].write(tmp_path / "mine")
    for path in root.glob("*.jpg"):
        path.unlink()
    assert "There is no image in it" in recognise(root)[1][0].notes[-1]


def test_what_macos_packs_beside_a_dataset_is_passed_over(tmp_path: Path) -> None:
    root = EXPORTS["yolo"].write(tmp_path / "outer" / "inner")
    write_image(tmp_path / "outer" / "__MACOSX" / "inner" / "pair.jpg", "pair")
    assert recognise(tmp_path / "outer")[0] == root


def test_an_export_one_folder_deeper_is_found(tmp_path: Path) -> None:
    root = EXPORTS["yolo"].write(tmp_path / "outer" / "inner")
    assert recognise(tmp_path / "outer")[0] == root


def test_what_is_there_and_the_nearest_layouts_are_said_where_nothing_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("nothing")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError) as error:
        recognise(tmp_path)
    assert f"{tmp_path} holds no export that is known: a (1 .txt), . (1 .csv)." in str(error.value)
    assert "data=yolo wants" in error.value.mend
    assert "data=kaggle_rle wants" in error.value.mend
    with pytest.raises(DatasetNotFoundError, match="There is no folder"):
        recognise(tmp_path / "none")
    with pytest.raises(DatasetNotFoundError, match="is a file"):
        recognise(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.json", "["),
        ("a.json", '{"images": [1], "annotations": [2], "categories": [3]}'),
        ("a.json", '{"images": [], "annotations": [{"segments_info": 3}, 4], "categories": []}'),
        ("a.json", '[{"type": "Feature", "properties": 3}]'),
        ("a.geojson", '{"features": null}'),
        ("a.xml", "<annotation>"),
        ("a.yaml", "names: [a]\n1: 2\n"),
        ("a.yaml", "- :"),
        ("a.csv", ""),
        ("labelmap.txt", ":"),
    ],
)
def test_files_of_another_kind_are_no_trouble(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / file).write_text(text)
    with contextlib.suppress(DatasetError):
        recognise(tmp_path)


def test_a_line_is_fit_for_shell_and_hydra() -> None:
    candidate = Candidate("a", "b", "coco_json", {"leave_out": ["traffic light", "it's"], "classes": None})
    line = candidate.line("my data")
    assert (
        line
        == """data=coco_json 'data.root="my data"' 'data.leave_out=["traffic light","it'"'"'s"]' data.classes=null"""
    )
    assert compose_typed(shlex.split(line))["data"]["leave_out"] == ["traffic light", "it's"]
    options = read_keys(shlex.split(line), "inspect", OWN, "", sections=("data",), groups=("data",))
    assert options["data"]["root"] == "my data"
    assert options["data"]["leave_out"] == ["traffic light", "it's"]
