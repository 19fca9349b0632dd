"""Ask every recogniser about a folder, and say what is there if none knows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from coatseg.data.recognition.candidate import Candidate
from coatseg.data.recognition.coco import coco_json, panoptic_json
from coatseg.data.recognition.masks import (
    camvid_of_datumaro,
    cellpose,
    cityscapes_of_datumaro,
    kitti,
    label_studio_brush,
    own_folder,
    roboflow_masks,
)
from coatseg.data.recognition.object_files import geojson, kaggle_rle, labelme, yolo
from coatseg.data.recognition.official import official
from coatseg.data.recognition.tree import Tree
from coatseg.data.recognition.voc import voc_boxes, voc_masks
from coatseg.errors import DatasetError

Recogniser = Callable[[Tree], Iterator[Candidate]]

RECOGNISERS: tuple[Recogniser, ...] = (
    cityscapes_of_datumaro, camvid_of_datumaro, voc_masks, kitti, roboflow_masks, cellpose, label_studio_brush,
    coco_json, panoptic_json, yolo, labelme, geojson, kaggle_rle, voc_boxes, own_folder,
)  # fmt: skip
"""What each knows of a tree; of equally sure ones the earlier counts more."""

NEAREST = {
    ".json": "json: data=coco_json wants images, annotations and categories, data=panoptic_json segments_info in these "
    "annotations, data=labelme a file of shapes an image",
    ".geojson": "geojson: data=geojson wants a FeatureCollection of polygons for each image",
    ".xml": "xml: data=voc_boxes wants <annotation> with <object> and <bndbox>",
    ".txt": "txt: data=yolo wants labels/ and a data.yaml with the names of the classes",
    ".csv": "csv: data=kaggle_rle wants a column of images and one of run lengths",
    ".parquet": "parquet: data=hub reads a dataset of Hugging Face",
}
"""By the suffix of files what the nearest layouts want."""
PAIRS = "images: data=folder wants images/, masks/ with the same names, and classes.txt"
MOST_FOLDERS = 8
NO_IMAGES = "There is no image in it: put them there, or name their folder with data.images=."


def recognise(root: Path) -> tuple[Path, tuple[Candidate, ...]]:
    """Return the folder that holds the dataset, `root` or the only one in it, and what it may be, the best match first.

    Raises:
        DatasetNotFoundError: it is no folder.
        DatasetError: nothing is recognised; what is there is listed, and what the nearest layouts want. Or it holds
            several datasets.
        ImageError: a folder in it cannot be listed.
    """
    tree = Tree.of(root)
    inside = {file.partition("/")[0] for file in tree.files}
    if len(inside) == 1 and (root / next(iter(inside))).is_dir():  # as archives are often unpacked
        return recognise(root / next(iter(inside)))
    found = tuple(official(tree))  # before any json is read: COCO's take long
    if not found:
        _check_single(tree, sorted(inside))
        found = _candidates(tree)
    if not found:
        raise DatasetError(f"{root} holds no export that is known: {_content(tree)}.", _nearest(tree))
    if not tree.image_folders:  # LabelMe's own files hold them too, as text that is not read
        found = tuple(replace(candidate, notes=(*candidate.notes, NO_IMAGES)) for candidate in found)
    return root, found


def _check_single(tree: Tree, inside: Sequence[str]) -> None:
    """Raise DatasetError if a folder in this one is a published dataset: what lies beside it would be mixed into it."""
    published = {name: next(official(tree.below(name)), None) for name in inside if tree.is_folder(name)}
    told = [f"{name} is {candidate.name}" for name, candidate in published.items() if candidate is not None]
    if told:
        raise DatasetError(
            f"{tree.root} holds more than a dataset: {', '.join(told)}.", "Name the folder of the one that is meant."
        )


def _candidates(tree: Tree) -> tuple[Candidate, ...]:
    found = [candidate for recogniser in RECOGNISERS for candidate in recogniser(tree)]
    return tuple(sorted(found, key=lambda candidate: -candidate.sure))


def _content(tree: Tree) -> str:
    """Return in words how many files of which suffix each folder holds."""
    if not tree.files:
        return "it is empty"
    told = []
    for folder, names in list(tree.folders.items())[:MOST_FOLDERS]:
        kinds = Counter(PurePosixPath(name).suffix.lower() or name for name in names)
        told.append(f"{folder} ({', '.join(f'{count} {kind}' for kind, count in kinds.most_common(3))})")
    more = len(tree.folders) - len(told)
    return ", ".join(told) + (f", and {more} more folders" if more > 0 else "")


def _nearest(tree: Tree) -> str:
    there = {PurePosixPath(file).suffix.lower() for file in tree.files}
    wanted = [words for suffix, words in NEAREST.items() if suffix in there] + [PAIRS] * bool(tree.image_folders)
    return f"{'; '.join(wanted) or PAIRS}. data/README.md draws every layout; give data=NAME to choose one."
