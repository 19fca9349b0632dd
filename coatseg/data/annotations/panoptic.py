"""Read the json of panoptic annotations in COCO's format, which names the segments of each image's PNG.

The format: https://cocodataset.org/#format-data, section 4.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.classes import first_repeated
from coatseg.errors import DatasetError
from coatseg.structures import Colour, Segment

EXPORT_AGAIN = "Correct it, or export the json and its PNG files again, both from one state of the annotations."
"""What to do about a json and PNG files of one's own that do not fit together."""

LARGEST = 256**3 - 1
"""The largest id that the three bytes of a pixel hold."""


@dataclass(frozen=True)
class Category:
    """A class as the json describes it; `colour` is None if it states none."""

    id: int
    name: str
    is_thing: bool
    colour: Colour | None


@dataclass(frozen=True)
class PanopticAnnotations:
    """The content of a panoptic json.

    `categories` are numbered from 0 in its order. `files` are pairs of names (image, PNG), one for each annotated
    image, `image_ids` the ids of these images, and `bare` the names of images without annotations. The segments of all
    images are stored in arrays, so that a hundred thousand images are passed to worker processes fast; `spans` maps the
    name of a PNG to where its segments begin and end. `areas` are the pixels that the json states, NaN where it states
    none. `mend` says in errors where to take a right json from.
    """

    path: Path
    categories: tuple[Category, ...]
    files: tuple[tuple[str, str], ...]
    image_ids: tuple[str, ...]
    bare: tuple[str, ...]
    spans: Mapping[str, tuple[int, int]]
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float64]
    mend: str

    def segments(self, png: str) -> tuple[Segment, ...]:
        """Return the segments of a PNG, given its name, in the order of the json."""
        span = slice(*self.spans[png])
        columns = (column[span].tolist() for column in (self.ids, self.labels, self.crowd, self.areas))
        return tuple(
            Segment(number, label, crowd, None if isnan(area) else area)
            for number, label, crowd, area in zip(*columns, strict=True)
        )


def read_annotations(path: Path, mend: str = EXPORT_AGAIN) -> PanopticAnnotations:
    """Read a panoptic json; `mend` says in errors where to take a right one from.

    Raises:
        DatasetError: it is damaged, lacks a field, or contradicts itself.
    """
    stated = path.stat()
    return _read(path, stated.st_mtime_ns, stated.st_size, mend)


# Reading the json of COCO's train split takes many seconds, and a run reads it more than once.
@lru_cache(maxsize=2)
def _read(path: Path, modified: int, size: int, mend: str) -> PanopticAnnotations:
    try:
        return _parsed(path, json.loads(path.read_bytes()), mend)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"the field {error} is missing" if isinstance(error, KeyError) else error
        raise DatasetError(f"{path} is no panoptic annotation file: {reason}.", mend) from error


def _parsed(path: Path, content: Any, mend: str) -> PanopticAnnotations:
    categories = content["categories"]
    if (twice_used := first_repeated(category["id"] for category in categories)) is not None:
        raise DatasetError(f"{path} has two categories of the id {twice_used}.", mend)
    numbers = {category["id"]: label for label, category in enumerate(categories)}
    images = {image["id"]: image["file_name"] for image in content["images"]}
    files: dict[Any, tuple[str, str]] = {}
    spans: dict[str, tuple[int, int]] = {}
    segments: list[tuple[int, int, int, float]] = []
    for annotation in content["annotations"]:
        image, png, found = annotation["image_id"], annotation["file_name"], annotation["segments_info"]
        twice = (
            "is there twice" if png in spans else f"is the second PNG of the image {image}" if image in files else ""
        )
        wrong = twice or _contradiction(annotation, images, numbers)
        if wrong:
            raise DatasetError(f"{path}: {png} {wrong}.", mend)
        files[image] = (images[image], png)
        spans[png] = (len(segments), len(segments) + len(found))
        segments += [_row(segment, numbers) for segment in found]
    ids, labels, crowd, areas = np.array(segments, np.float64).reshape(-1, 4).T  # which holds ids of 24 bits exactly
    return PanopticAnnotations(
        path,
        tuple(_category(category) for category in categories),
        tuple(files.values()),
        tuple(map(str, files)),
        tuple(name for image, name in images.items() if image not in files),
        spans,
        ids.astype(np.int64),
        labels.astype(np.int64),
        crowd.astype(bool),
        areas.copy(),
        mend,
    )


def _row(segment: Mapping[str, Any], numbers: Mapping[int, int]) -> tuple[int, int, int, float]:
    area = segment.get("area")
    return segment["id"], numbers[segment["category_id"]], segment.get("iscrowd", 0), nan if area is None else area


def _contradiction(annotation: Mapping[str, Any], images: Collection[int], numbers: Collection[int]) -> str:
    """Return in words what is wrong with the annotation of an image; nothing if it is right."""
    if annotation["image_id"] not in images:
        return f"belongs to the image {annotation['image_id']}, which images lacks"
    segments = annotation["segments_info"]
    for segment in segments:
        number, category = segment["id"], segment["category_id"]
        if not 0 <= number <= LARGEST:
            return f"has the segment {number}, and a PNG holds ids from 1 to {LARGEST}"
        if category not in numbers:
            return f"has the segment {number} of the category {category}, which categories lacks"
    twice = first_repeated((0, *(segment["id"] for segment in segments)))
    if twice is None:
        return ""
    return f"has the segment {twice} twice" if twice else "calls a segment 0, void's id"


def _category(stated: Mapping[str, Any]) -> Category:
    number, name, is_thing = stated["id"], stated["name"], bool(stated["isthing"])
    if "color" not in stated:
        return Category(number, name, is_thing, None)
    red, green, blue = stated["color"]
    return Category(number, name, is_thing, (red, green, blue))
