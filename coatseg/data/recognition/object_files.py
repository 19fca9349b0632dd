"""Objects in a file an image, or in one table: YOLO, LabelMe, QuPath's GeoJSON, run lengths of Kaggle."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import yaml

from coatseg.data.annotations.formats.kaggle_csv import BOTH, KNOWN
from coatseg.data.recognition.candidate import FORMAT, TOOL, Candidate
from coatseg.data.recognition.splits import NAMES, by_split, place_of, shared_by, split_of, split_options, trains
from coatseg.data.recognition.tree import Tree, stem_of

LOOKED_AT = 20
"""How many files of labels are read to tell boxes from polygons."""
NO_SPLITS = (
    "has to say what is trained and validated on: add `train: ` and `val: `, each with a folder of images, or a txt "
    "that lists them, relative to it."
)
IMAGE_COLUMNS, RUN_COLUMNS = (*KNOWN["image"], *BOTH), KNOWN["runs"]


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
    annotations = place_of(folders)
    images = annotations if beside else place_of(sorted(tree.image_folders))
    yield Candidate(
        name="LabelMe",
        reason=f"{found[0]} with shapes, {'beside its image' if beside else f'and images in {images}'}",
        data="labelme",
        options={**_file_options(tree, images, annotations, ".json"), **split_options(folders)},
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
    annotations = place_of(folders)
    beside = all(folder in tree.image_folders for folder in folders)
    images = annotations if beside else place_of(sorted(tree.image_folders))
    yield Candidate(
        name="QuPath GeoJSON" if classified else "GeoJSON",
        reason=f"{first} of features{' with classifications' if classified else ''}, and images in {images}",
        data="geojson",
        options={**_file_options(tree, images, annotations, first[first.rindex(".") :]), **split_options(folders)},
        task="inst",
        sure=TOOL if classified else FORMAT,
    )


def kaggle_rle(tree: Tree) -> Iterator[Candidate]:
    """Recognise a csv of run lengths, an object or an image a row, as Kaggle's contests have them, or one a split."""
    tables = [match[0] for match in tree.find(r".*\.csv") if "submission" not in match[0].lower()]
    columns = {path: found for path in tables if (found := _run_columns(tree, path)) is not None}
    splits = by_split(columns)
    same = {_with_split(path) for path in splits.values()}
    if trains(splits) and len(same) == 1:
        of_all = {"annotations": same.pop(), "images": place_of(sorted(tree.image_folders)), "split_by": "folders"}
        yield _of_run_lengths(splits["train"], columns[splits["train"]], of_all)
        return
    for path, found in columns.items():
        images = _folder_of_split(tree, path.rpartition("/")[2])
        yield _of_run_lengths(path, found, {"annotations": path, "images": images})


def _run_columns(tree: Tree, path: str) -> tuple[str, str] | None:
    """Return what a csv calls its columns of images and of run lengths; None if it has not both."""
    header = [name.strip() for name in next(csv.reader(tree.lines(path)[:1]), [])]
    found = [next((name for name in header if name.lower() in known), None) for known in (IMAGE_COLUMNS, RUN_COLUMNS)]
    return None if found[0] is None or found[1] is None else (found[0], found[1])


def _of_run_lengths(path: str, columns: tuple[str, str], options: dict[str, Any]) -> Candidate:
    return Candidate(
        name="run lengths of a Kaggle contest",
        reason=f"{path} with the columns {columns[0]} and {columns[1]}, and images in {options['images']}",
        data="kaggle_rle",
        options=options,
        task="inst",
    )


def _with_split(path: str) -> str:
    """Return a path with SPLIT for its last word that names a split."""
    return re.sub(rf"(.*)(?<![a-z])({'|'.join(NAMES)})(?![a-z])", r"\1SPLIT", path, flags=re.IGNORECASE)


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
    """Return the folder of the images that a table with this stem is of: those of its split, or of train, or all."""
    folders = {
        wanted: [one for one in tree.image_folders if split_of(one) == wanted] for wanted in (split_of(stem), "train")
    }
    return shared_by(next(filter(None, folders.values()), tree.image_folders))
