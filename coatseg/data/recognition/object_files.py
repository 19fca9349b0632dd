"""Objects in a file an image, or in one table: YOLO, LabelMe, QuPath's GeoJSON, run lengths of Kaggle."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from typing import Any

import yaml

from coatseg.data.recognition.candidate import FORMAT, TOOL, Candidate
from coatseg.data.recognition.splits import by_split, split_of, trains
from coatseg.data.recognition.tree import Tree, stem_of

LOOKED_AT = 20
"""How many files of labels are read to tell boxes from polygons."""
NO_SPLITS = (
    "has to say what is trained and validated on: add `train: ` and `val: `, each with a folder of images, or a txt "
    "that lists them, relative to it."
)
IMAGE_COLUMNS = ("imageid", "image_id", "id", "img_id", "image")
RUN_COLUMNS = ("encodedpixels", "rle", "rle_mask", "segmentation", "encoded_pixels", "annotation")


def yolo(tree: Tree) -> Iterator[Candidate]:
    """Recognise YOLO: txt files of labels, and a yaml that names the classes or, in its place, a classes.txt."""
    labels = [match[0] for match in islice(tree.find(r"(.+/)?labels/.*\.txt"), LOOKED_AT)]
    rows = [line.split() for path in labels for line in tree.lines(path)]
    polygons = any(len(row) > 5 for row in rows)
    name, task = ("YOLO-seg", "inst") if polygons else ("YOLO", "det")
    found = {match[0]: _yaml(tree.text(match[0])) for match in tree.find(r"(?:.+/)?[^/]+\.ya?ml")}
    splits = {
        path: by_split(key for key in stated if isinstance(key, str) and stated[key]) for path, stated in found.items()
    }
    named = [path for path, stated in found.items() if "names" in stated and (labels or splits[path])]
    for path in named:
        yield Candidate(
            name=name,
            reason=f"{path} with the names of classes, and {'polygons' if polygons else 'boxes'} in labels",
            data="yolo",
            options={} if path == "data.yaml" else {"file": path},
            task=task,
            first="" if trains(splits[path]) else f"{path} {NO_SPLITS}",
        )
    if not named and rows and "classes.txt" in tree.files:
        names = ", ".join(tree.lines("classes.txt"))
        yield Candidate(
            name=f"{name} of Label Studio" if "notes.json" in tree.files else name,
            reason="classes.txt, and labels in labels",
            data="yolo",
            task=task,
            first=f"There is no data.yaml: write one with `names: [{names}]`; it {NO_SPLITS}",
        )


def labelme(tree: Tree) -> Iterator[Candidate]:
    """Recognise LabelMe: a json of shapes for each image."""
    found = [path for path, content in tree.jsons.items() if isinstance(content, dict) and "shapes" in content]
    if not found:
        return
    folders = sorted({path.rpartition("/")[0] or "." for path in found})
    beside = all(folder in tree.image_folders for folder in folders)
    annotations = _top(folders)
    images = annotations if beside else _top(sorted(tree.image_folders) or ["."])
    yield Candidate(
        name="LabelMe",
        reason=f"{found[0]} with shapes, {'beside its image' if beside else f'and images in {images}'}",
        data="labelme",
        options=_file_options(tree, images, annotations, ".json"),
        task="inst",
    )


def geojson(tree: Tree) -> Iterator[Candidate]:
    """Recognise polygons in GeoJSON, as QuPath exports them."""
    found = {path: content for path, content in tree.jsons.items() if _features(content)}
    if not found:
        return
    first = next(iter(found))
    properties = [row.get("properties") for row in _features(found[first])]
    classified = any(isinstance(stated, dict) and "classification" in stated for stated in properties)
    folders = sorted({path.rpartition("/")[0] or "." for path in found})
    annotations = _top(folders)
    beside = all(folder in tree.image_folders for folder in folders)
    images = annotations if beside else _top(sorted(tree.image_folders) or ["."])
    yield Candidate(
        name="QuPath GeoJSON" if classified else "GeoJSON",
        reason=f"{first} of features{' with classifications' if classified else ''}, and images in {images}",
        data="geojson",
        options=_file_options(tree, images, annotations, first[first.rindex(".") :]),
        task="inst",
        sure=TOOL if classified else FORMAT,
    )


def kaggle_rle(tree: Tree) -> Iterator[Candidate]:
    """Recognise a csv of run lengths, an object or an image a row, as Kaggle's contests have them."""
    for match in tree.find(r"(?:(.+)/)?([^/]+)\.csv"):
        header = [name.strip() for name in next(csv.reader(tree.lines(match[0])[:1]), [])]
        lower = [name.lower() for name in header]
        runs = next((name for name in RUN_COLUMNS if name in lower), None)
        images = next((name for name in IMAGE_COLUMNS if name in lower), None)
        if runs is None or images is None:
            continue
        folder = _folder_of_split(tree, match[2])
        yield Candidate(
            name="run lengths of a Kaggle contest",
            reason=f"{match[0]} with the columns {header[lower.index(images)]} and {header[lower.index(runs)]}, "
            f"and images in {folder}",
            data="kaggle_rle",
            options={"annotations": match[0], "images": folder},
            task="inst",
        )


def _yaml(text: str) -> dict[str, Any]:
    try:
        stated = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return stated if isinstance(stated, dict) else {}


def _features(content: Any) -> list[dict[str, Any]]:
    rows = content.get("features") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        return []
    return [row for row in rows if isinstance(row, dict) and row.get("type") == "Feature"]


def _file_options(tree: Tree, images: str, annotations: str, suffix: str) -> dict[str, Any]:
    """Return the options of a reader of one file an image: its folders, and what images without a file are."""
    folders = {"images": images, "annotations": annotations}
    options: dict[str, Any] = {name: folder for name, folder in folders.items() if folder != "."}
    stems = {stem_of(file.rpartition("/")[2]) for file in tree.files if file.endswith(suffix)}
    shown = {stem_of(name) for names in tree.image_folders.values() for name in names}
    return {**options, "without_annotation": "leave_out"} if shown - stems else options


def _folder_of_split(tree: Tree, stem: str) -> str:
    folders = sorted(tree.image_folders, key=lambda folder: (split_of(folder) != split_of(stem), folder))
    return folders[0] if folders else "."


def _top(folders: list[str]) -> str:
    """Return the folder that holds all of these."""
    parts = [[] if folder == "." else folder.split("/") for folder in folders]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "/".join(shared) or "."
