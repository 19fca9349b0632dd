"""Read panoptic annotations in COCO's format: one json for a split, and a PNG of segment ids for each image.

The format: https://cocodataset.org/#format-data, section 4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.classes import first_repeated
from coatseg.data.images.reading import read_image
from coatseg.errors import DatasetError
from coatseg.structures import Colour, Segment


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
    image. The segments of all images are stored in three arrays, so that a hundred thousand images are passed to worker
    processes fast; `spans` maps the name of a PNG to where its segments begin and end.
    """

    path: Path
    categories: tuple[Category, ...]
    files: tuple[tuple[str, str], ...]
    spans: Mapping[str, tuple[int, int]]
    ids: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]

    def segments(self, png: str) -> tuple[Segment, ...]:
        """Return the segments of a PNG, given its name."""
        begin, end = self.spans[png]
        parts = zip(self.ids[begin:end], self.labels[begin:end], self.crowd[begin:end], strict=True)
        return tuple(Segment(int(number), int(label), bool(crowd)) for number, label, crowd in parts)


def read_annotations(path: Path) -> PanopticAnnotations:
    """Read a panoptic json.

    Raises:
        DatasetError: it is damaged, lacks a field, or contradicts itself.
    """
    stated = path.stat()
    return _read(path, stated.st_mtime_ns, stated.st_size)


def read_segment_ids(path: Path) -> npt.NDArray[np.int32]:
    """Read the segment ids (H, W) of a PNG, R + 256 G + 65536 B; 0 is void.

    Raises:
        ImageError: it cannot be read.
        DatasetError: it is not an 8-bit RGB picture.
    """
    pixels = read_image(path)
    if pixels.dtype != np.uint8 or pixels.shape[2] != 3:
        raise DatasetError(
            f"{path} has {pixels.shape[2]} channels of {pixels.dtype}: segment ids are coded in RGB of 8 bit.",
            "Take it from the archive inside panoptic_annotations_trainval2017.zip as it is.",
        )
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return np.asarray(red + 256 * green + 65536 * blue)


@dataclass(frozen=True)
class SegmentMasks:
    """Reads panoptic PNG files as label maps (H, W): each segment's class, crowds included, `ignore_index` for void."""

    annotations: PanopticAnnotations
    ignore_index: int

    def __call__(self, path: Path) -> npt.NDArray[np.int64]:
        """Read one PNG.

        Raises:
            ImageError: it cannot be read.
            DatasetError: it is not an 8-bit RGB picture, or has a segment that the json does not list.
        """
        ids = read_segment_ids(path)
        known = {0: self.ignore_index, **{part.id: part.label for part in self.annotations.segments(path.name)}}
        keys = np.array(sorted(known))
        labels = np.array([known[key] for key in keys.tolist()])
        place = np.searchsorted(keys, ids).clip(max=len(keys) - 1)
        unknown = keys[place] != ids
        if unknown.any():
            y, x = np.unravel_index(unknown.argmax(), unknown.shape)
            raise DatasetError(
                f"{path} has the segment {ids[y, x]}, first at (x={x}, y={y}), which {self.annotations.path} "
                "does not know.",
                "Take both from one release: unpack panoptic_annotations_trainval2017.zip again.",
            )
        return np.asarray(labels[place])


# Reading the json of COCO's train split takes many seconds, and a run reads it more than once.
@lru_cache(maxsize=2)
def _read(path: Path, modified: int, size: int) -> PanopticAnnotations:
    try:
        return _parsed(path, json.loads(path.read_bytes()))
    except (KeyError, TypeError, ValueError) as error:
        reason = f"the field {error} is missing" if isinstance(error, KeyError) else error
        raise DatasetError(
            f"{path} is no panoptic annotation file: {reason}.",
            "Copy it again from panoptic_annotations_trainval2017.zip.",
        ) from error


def _parsed(path: Path, content: Any) -> PanopticAnnotations:
    categories = content["categories"]
    numbers = {category["id"]: label for label, category in enumerate(categories)}
    images = {image["id"]: image["file_name"] for image in content["images"]}
    files: list[tuple[str, str]] = []
    spans: dict[str, tuple[int, int]] = {}
    segments: list[tuple[int, int, int]] = []
    for annotation in content["annotations"]:
        png, found = annotation["file_name"], annotation["segments_info"]
        if annotation["image_id"] not in images:
            raise _unfitting(path, png, f"belongs to the image {annotation['image_id']}, which images lacks")
        twice = first_repeated((0, *(segment["id"] for segment in found)))
        if twice is not None:
            raise _unfitting(path, png, f"has the segment {twice} twice" if twice else "calls a segment 0, void's id")
        for segment in found:
            if segment["category_id"] not in numbers:
                raise _unfitting(
                    path,
                    png,
                    f"has the segment {segment['id']} of the category {segment['category_id']}, which categories lacks",
                )
        files.append((images[annotation["image_id"]], png))
        spans[png] = (len(segments), len(segments) + len(found))
        segments += [(segment["id"], numbers[segment["category_id"]], segment.get("iscrowd", 0)) for segment in found]
    ids, labels, crowd = np.array(segments, np.int64).reshape(-1, 3).T
    return PanopticAnnotations(
        path,
        tuple(_category(category) for category in categories),
        tuple(files),
        spans,
        ids.copy(),
        labels.copy(),
        crowd.astype(bool),
    )


def _category(stated: Mapping[str, Any]) -> Category:
    number, name, is_thing = stated["id"], stated["name"], bool(stated["isthing"])
    if "color" not in stated:
        return Category(number, name, is_thing, None)
    red, green, blue = stated["color"]
    return Category(number, name, is_thing, (red, green, blue))


def _unfitting(path: Path, png: str, what: str) -> DatasetError:
    return DatasetError(f"{path}: {png} {what}.", "Copy it again from panoptic_annotations_trainval2017.zip.")
