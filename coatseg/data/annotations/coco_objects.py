"""Read object annotations in COCO's format: one json for a split.

The format: https://cocodataset.org/#format-data, section 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.boxes import BOXES, mend_boxes, repair_line
from coatseg.data.annotations.coco_columns import (
    NAMES,
    column_of,
    places_of,
    stated_areas,
    stated_boxes,
    stated_crowds,
    unfitting,
    unique_column,
)
from coatseg.data.annotations.segmentations import SegmentationColumn, SegmentationError, Segmentations
from coatseg.errors import DatasetError
from coatseg.structures import Instances, Size


@dataclass(frozen=True)
class Repair:
    """Things of a `kind` (singular, plural) that were mended or left out, and what was `done`, in words.

    `annotation_ids` and `rows`, both (N,), are the ids of their annotations and the places of their images. With
    `of_all` it concerns all images, not only those `rows`.
    """

    kind: tuple[str, str]
    done: str
    annotation_ids: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    of_all: bool = False

    def lines(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Return a line on what was done in the images `rows`; none if it does not concern them."""
        ids = self.annotation_ids[np.isin(self.rows, rows)]
        if self.of_all and not len(ids):
            ids = self.annotation_ids
        return (repair_line(self.kind, len(ids), self.done, f"annotation {ids[0]}"),) if len(ids) else ()


@dataclass(frozen=True)
class ObjectAnnotations:
    """The content of a json of objects, mended where files of this format commonly need it.

    `classes` are the names of its categories in its order, and `category_ids` their ids. Its I images have `ids`,
    `files` and `sizes` (I, 2), height and width. Objects are stored in arrays, those of image i from `begins[i]` to
    `begins[i + 1]`, so that a hundred thousand images are passed to worker processes fast. `numbers` are the places of
    objects in the json, by which `segmentations` are indexed. `areas` is None if any object states none, and
    `segmentations` if any has no mask. `findings` tell what was mended or left out. `annotated` is false for the json
    of a test split, which has images and categories alone.
    """

    path: Path
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    ids: tuple[str, ...]
    files: tuple[str, ...]
    sizes: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float64] | None
    annotation_ids: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    segmentations: Segmentations | None
    findings: tuple[Repair, ...]
    annotated: bool = True

    def repairs(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Return one line for each kind of mending or omission that concerns the images `rows`."""
        return tuple(line for finding in self.findings for line in finding.lines(rows))

    def size(self, index: int) -> Size:
        """Return the (height, width) of an image."""
        height, width = self.sizes[index].tolist()
        return height, width

    def has_objects(self, index: int) -> bool:
        """Return whether an image has an object that is not a crowd."""
        return not self.crowd[self.begins[index] : self.begins[index + 1]].all()

    def instances(self, index: int) -> Instances:
        """Return the objects of an image; a mask has no pixels where its polygon is smaller than one.

        Raises:
            DatasetError: the run lengths of a mask do not fill the image.
        """
        own = slice(self.begins[index], self.begins[index + 1])
        masks = None
        if self.segmentations is not None:
            try:
                masks = self.segmentations.masks(self.numbers[own].tolist(), self.size(index))
            except SegmentationError as error:
                place = np.flatnonzero(self.numbers == error.number)[0]
                raise unfitting(self.path, f"annotation {self.annotation_ids[place]}", error.what) from error
        areas = None if self.areas is None else self.areas[own]
        return Instances(self.boxes[own], self.labels[own], masks, self.crowd[own], areas)


def read_objects(path: Path) -> ObjectAnnotations:
    """Read a json of objects, or one of images and categories alone, as COCO's image_info_test-dev2017.json.

    Raises:
        DatasetError: it cannot be read, is damaged, lacks a field, or contradicts itself.
    """
    try:
        stated = path.stat()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    return _read(path, stated.st_mtime_ns, stated.st_size)


# Reading the json of COCO's train split takes many seconds, and a run reads it more than once.
@lru_cache(maxsize=4)
def _read(path: Path, modified: int, size: int) -> ObjectAnnotations:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.", "Name the json itself.") from error
    except (ValueError, RecursionError) as error:  # the latter where brackets are nested by the thousand
        raise DatasetError(f"{path} is no json: {error}.", "Copy or export it again.") from error
    images, annotations, categories = (_list(content, key) for key in ("images", "annotations", "categories"))
    if images is not None and categories is not None and "annotations" not in content:
        return replace(_parsed(path, images, [], categories), annotated=False)
    if images is None or annotations is None or categories is None:
        raise DatasetError(
            f"{path} is no file of objects: it has no images, annotations and categories, lists of entries.",
            "Take COCO's instances_*.json, or export objects in COCO's format.",
        )
    return _parsed(path, images, annotations, categories)


def _list(content: Any, key: str) -> list[dict[str, Any]] | None:
    part = content.get(key) if isinstance(content, dict) else None
    return part if isinstance(part, list) and all(isinstance(entry, dict) for entry in part) else None


def _parsed(
    path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: list[dict[str, Any]]
) -> ObjectAnnotations:
    category_ids = unique_column(path, "category", categories, "id", int)
    classes = unique_column(path, "category", categories, "name", str)
    image_ids = unique_column(path, "image", images, "id", NAMES)
    files = column_of(path, "image", images, "file_name", str)
    if "" in files:
        raise DatasetError(f"{path}: image {image_ids[files.index('')]} has an empty file_name.", "Name its file.")
    sides = [column_of(path, "image", images, side, int) for side in ("height", "width")]
    ids = unique_column(path, "annotation", annotations, "id", int)
    sizes = np.array(sides, np.int64).T
    rows = places_of(path, annotations, "image_id", image_ids, "images")
    labels = places_of(path, annotations, "category_id", category_ids, "categories")

    def place(number: int) -> str:
        return f"annotation {ids[number]}"

    mended = mend_boxes(stated_boxes(path, annotations), sizes[rows])
    masks = _masks(path, annotations, sizes[rows], place)
    kept = mended.kept & ~masks.lost
    numbers = np.flatnonzero(kept)
    numbers = numbers[np.argsort(rows[numbers], kind="stable")]
    bare = numbers[~masks.there[numbers]]
    all_ids = np.array(ids, np.int64)
    found = [(BOXES, done, boxes) for done, boxes in mended.findings.items()]
    found.append((("polygon", "polygons"), "of fewer than three points left out", masks.short))
    findings = [Repair(kind, done, all_ids[which], rows[which]) for kind, done, which in found]
    if 0 < len(bare) < len(numbers):
        done, which = "without a mask, so that the masks of the others are not used", np.sort(bare)
        findings.append(Repair(("object", "objects"), done, all_ids[which], rows[which], of_all=True))
    areas = stated_areas(path, annotations)[numbers]
    return ObjectAnnotations(
        path,
        tuple(classes),
        tuple(category_ids),
        tuple(map(str, image_ids)),
        tuple(files),
        sizes,
        np.searchsorted(rows[numbers], np.arange(len(images) + 1)),
        mended.boxes[numbers].astype(np.float32),
        labels[numbers],
        stated_crowds(path, annotations)[numbers],
        None if np.isnan(areas).any() else areas,
        all_ids[numbers],
        numbers,
        None if len(bare) else masks.segmentations,
        tuple(findings),
    )


@dataclass(frozen=True)
class _Masks:
    """The masks of A annotations: which are `there`, and which `lost` since their polygons are too short, (A,) bool.

    `short` holds, for each polygon that is too short, the number of its annotation.
    """

    segmentations: Segmentations
    there: npt.NDArray[np.bool_]
    lost: npt.NDArray[np.bool_]
    short: npt.NDArray[np.int64]


def _masks(
    path: Path, annotations: list[dict[str, Any]], sizes: npt.NDArray[np.int64], place: Callable[[int], str]
) -> _Masks:
    column = SegmentationColumn()
    try:
        there = [
            column.add(annotation.get("segmentation"), (height, width))
            for annotation, (height, width) in zip(annotations, sizes.tolist(), strict=True)
        ]
        segmentations = column.collected()
    except SegmentationError as error:
        raise unfitting(path, place(error.number), error.what) from error
    short = np.array(column.short_polygons, np.int64)
    masked = np.array(there, bool)
    lost = np.zeros(len(annotations), bool)
    lost[short] = True
    return _Masks(segmentations, masked, lost & ~masked, short)
