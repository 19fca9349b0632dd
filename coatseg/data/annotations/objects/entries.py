"""Collect objects as entries of COCO's form, which is what every reader of another format hands on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coatseg.data.annotations.objects.annotations import ObjectAnnotations, annotations_of_entries
from coatseg.data.annotations.objects.mended_boxes import repair_line
from coatseg.data.annotations.objects.options import ObjectOptions
from coatseg.structures import Size

Kind = tuple[str, str]
"""What is counted, in the singular and the plural."""


class ObjectEntries:
    """Collects the images of a dataset and, after each, its objects; classes are numbered from 0."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._categories = [{"id": number, "name": name} for number, name in enumerate(classes)]
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._words: list[str] = []
        self._counted: dict[tuple[Kind, str], list[str]] = {}

    def add_image(self, name: str, file: str, size: Size) -> None:
        """Add an image of this (height, width); the objects that are added next are its."""
        self._images.append({"id": name, "file_name": file, "height": size[0], "width": size[1]})

    def add(self, label: int, words: str, *, bbox: list[float], segmentation: Any = None) -> None:
        """Add an object to the last image: its class, where it stands in its file, its box and perhaps its mask.

        The box is x, y, width and height; the mask is polygons or run lengths.
        """
        own = {"id": len(self._annotations), "image_id": self._images[-1]["id"], "category_id": label, "bbox": bbox}
        self._annotations.append(own if segmentation is None else {**own, "segmentation": segmentation})
        self._words.append(words)

    def count(self, kind: Kind, done: str, words: str) -> None:
        """Note that something was `done` to a thing of a kind, for a line that says how many there are."""
        self._counted.setdefault((kind, done), []).append(words)

    @property
    def lines(self) -> tuple[str, ...]:
        """A line for each kind of thing that was counted, with the place of the first."""
        return tuple(repair_line(kind, len(places), done, places[0]) for (kind, done), places in self._counted.items())

    def collected(self, path: Path, options: ObjectOptions) -> ObjectAnnotations:
        """Check and store all entries; `path` is the file or folder that they are from.

        Raises:
            ConfigError: classes are chosen that are not there.
            DatasetError: an object makes no sense.
        """
        return annotations_of_entries(path, self._images, self._annotations, self._categories, options, self._words)


def extent_of(polygons: Sequence[Sequence[float]]) -> list[float]:
    """Return x, y, width and height of the points of polygons, each x and y in turn."""
    x = [value for polygon in polygons for value in polygon[::2]]
    y = [value for polygon in polygons for value in polygon[1::2]]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]
