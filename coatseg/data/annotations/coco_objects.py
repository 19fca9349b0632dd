"""Read object annotations in COCO's format: one json for a split.

The format: https://cocodataset.org/#format-data, section 1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from reprlib import repr as brief
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.boxes import BOXES, mend_boxes, repair_line
from coatseg.data.annotations.classes import first_repeated
from coatseg.data.annotations.segmentations import SegmentationColumn, SegmentationError, Segmentations
from coatseg.errors import DatasetError
from coatseg.structures import Instances, Size

NAMES = (int, str)
"""The types that the id of an image may have."""

LARGEST = 2**63 - 1
"""The largest integer that an int64 array holds."""


@dataclass(frozen=True)
class Finding:
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
    `segmentations` if any has no mask. `findings` tell what was mended or left out.
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
    findings: tuple[Finding, ...]

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
                raise _unfitting(self.path, f"annotation {self.annotation_ids[place]}", error.what) from error
        areas = None if self.areas is None else self.areas[own]
        return Instances(self.boxes[own], self.labels[own], masks, self.crowd[own], areas)


def read_objects(path: Path) -> ObjectAnnotations:
    """Read a json of objects.

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
    category_ids = _unique(path, "category", categories, "id", int)
    classes = _unique(path, "category", categories, "name", str)
    image_ids = _unique(path, "image", images, "id", NAMES)
    files = _column(path, "image", images, "file_name", str)
    if "" in files:
        raise DatasetError(f"{path}: image {image_ids[files.index('')]} has an empty file_name.", "Name its file.")
    sides = [_column(path, "image", images, side, int) for side in ("height", "width")]
    ids = _unique(path, "annotation", annotations, "id", int)
    sizes = np.array(sides, np.int64).T
    rows = _looked_up(path, annotations, "image_id", image_ids, "images")
    labels = _looked_up(path, annotations, "category_id", category_ids, "categories")

    def place(number: int) -> str:
        return f"annotation {ids[number]}"

    mended = mend_boxes(_boxes(path, annotations), sizes[rows])
    masks = _masks(path, annotations, sizes[rows], place)
    kept = mended.kept & ~masks.lost
    numbers = np.flatnonzero(kept)
    numbers = numbers[np.argsort(rows[numbers], kind="stable")]
    bare = numbers[~masks.there[numbers]]
    all_ids = np.array(ids, np.int64)
    found = [(BOXES, done, boxes) for done, boxes in mended.findings.items()]
    found.append((("polygon", "polygons"), "of fewer than three points left out", masks.short))
    findings = [Finding(kind, done, all_ids[which], rows[which]) for kind, done, which in found]
    if 0 < len(bare) < len(numbers):
        done, which = "without a mask, so that the masks of the others are not used", np.sort(bare)
        findings.append(Finding(("object", "objects"), done, all_ids[which], rows[which], of_all=True))
    areas = _areas(path, annotations)[numbers]
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
        _crowd(path, annotations)[numbers],
        None if np.isnan(areas).any() else areas,
        all_ids[numbers],
        numbers,
        None if len(bare) else masks.segmentations,
        tuple(findings),
    )


def _column(path: Path, kind: str, entries: list[dict[str, Any]], key: str, types: Any) -> list[Any]:
    """Return one field of all entries; all must have it, of the right type, and integers must fit into 64 bits."""
    column = [entry.get(key) for entry in entries]
    for number, value in enumerate(column):
        if not isinstance(value, types) or (types is int and not -LARGEST <= value <= LARGEST):
            name = entries[number].get("id", f"number {number + 1}")
            stated = f"{key}={brief(value)}" if key in entries[number] else f"no {key}"
            raise _unfitting(path, f"{kind} {name}", f"has {stated}")
    return column


def _unique(path: Path, kind: str, entries: list[dict[str, Any]], key: str, types: Any) -> list[Any]:
    column = _column(path, kind, entries, key, types)
    written = list(map(str, column))  # as in result files, where 1 and "1" are the same
    if len(set(written)) < len(written):
        raise DatasetError(
            f"{path} has the {kind} {key} {first_repeated(written)} twice.",
            f"Give every {kind} {'an' if key == 'id' else 'a'} {key} of its own.",
        )
    return column


def _looked_up(
    path: Path, annotations: list[dict[str, Any]], key: str, known: list[Any], where: str
) -> npt.NDArray[np.int64]:
    """Return for each annotation the place in `known` of the image or category that it refers to."""
    places = {name: place for place, name in enumerate(known)}
    column = _column(path, "annotation", annotations, key, NAMES)
    found = np.array([places.get(name, -1) for name in column], np.int64)
    if (found < 0).any():
        number = int((found < 0).argmax())
        raise _unfitting(
            path, f"annotation {annotations[number]['id']}", f"has {key}={column[number]!r}, which {where} lacks"
        )
    return found


def _boxes(path: Path, annotations: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """Return the boxes (N, 4) as corners, converted from x, y, width and height."""
    stated = _column(path, "annotation", annotations, "bbox", list)
    boxes = np.array([_four(box) for box in stated], np.float64).reshape(-1, 4)
    wrong = ~np.isfinite(boxes).all(1)
    if wrong.any():
        number = int(wrong.argmax())
        raise _unfitting(
            path,
            f"annotation {annotations[number]['id']}",
            f"has bbox={brief(stated[number])}, which is not x, y, width and height",
        )
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _four(box: list[Any]) -> list[float]:
    return box if len(box) == 4 and all(map(_is_number, box)) else [np.nan] * 4


def _is_number(value: Any) -> bool:
    """Return whether a value is a number that fits into an array; a json may state integers of any length."""
    return isinstance(value, float) or (isinstance(value, int) and -LARGEST <= value <= LARGEST)


def _crowd(path: Path, annotations: list[dict[str, Any]]) -> npt.NDArray[np.bool_]:
    """Return whether each annotation is a crowd, (N,); those that do not state it are not."""
    stated = [annotation.get("iscrowd") for annotation in annotations]
    for annotation, crowd in zip(annotations, stated, strict=True):
        if crowd not in (None, 0, 1):
            raise _unfitting(
                path, f"annotation {annotation['id']}", f"has iscrowd={brief(crowd)}, which is neither 0 nor 1"
            )
    return np.array(stated, bool)


def _areas(path: Path, annotations: list[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """Return the stated areas (N,), NaN where there is none."""
    stated = [annotation.get("area") for annotation in annotations]
    for annotation, area in zip(annotations, stated, strict=True):
        if area is not None and not _is_number(area):
            raise _unfitting(path, f"annotation {annotation['id']}", f"has area={brief(area)}")
    return np.array([np.nan if area is None else area for area in stated], np.float64)


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
        raise _unfitting(path, place(error.number), error.what) from error
    short = np.array(column.short_polygons, np.int64)
    masked = np.array(there, bool)
    lost = np.zeros(len(annotations), bool)
    lost[short] = True
    return _Masks(segmentations, masked, lost & ~masked, short)


def _unfitting(path: Path, place: str, what: str) -> DatasetError:
    return DatasetError(f"{path}: {place} {what}.", "Correct it there, or export or copy the file again.")
