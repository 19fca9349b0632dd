"""What a data.yaml of YOLO says: the classes, and the images of each split; and where the labels of an image are.

The rules are those of ultralytics: ultralytics/data/utils.py, check_det_dataset and img2label_paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from coatseg.data.annotations.classes import first_repeated, read_lines
from coatseg.data.images.reading import IMAGE_SUFFIXES
from coatseg.data.images.walking import walk
from coatseg.data.trees.splits import names_of_split
from coatseg.errors import DatasetError, DatasetNotFoundError, SplitNotFoundError, listed, nearest

NAMES = "List its classes: names: [cat, dog]"
UP = "../"


@dataclass(frozen=True)
class YoloTree:
    """The content of a data.yaml at `path`: its classes, and what it states for each split."""

    path: Path
    classes: tuple[str, ...]
    stated: Mapping[str, Any]

    def images(self, split: str) -> list[Path]:
        """Return the images of a split, in order.

        Raises:
            SplitNotFoundError: the yaml states none for it, or what it states is not there.
            DatasetError: an image is there twice, or none is.
        """
        name = next((name for name in names_of_split(split) if self.stated.get(name)), None)
        if name is None:
            there = [name for name in ("train", "val", "test") if self.stated.get(name)]
            raise SplitNotFoundError(f"{self.path} states no images for the split {split!r}.", nearest(split, there))
        entries = self.stated[name]
        found = [image for entry in (entries if isinstance(entries, list) else [entries]) for image in self._of(entry)]
        if not found:
            raise DatasetError(f"{self.path}: {name}: {entries} holds no image.", "Correct it there.")
        twice = first_repeated(found)
        if twice is not None:
            raise DatasetError(f"{self.path}: {name} has the image {twice} twice.", "Name each image once.")
        return found

    def _of(self, entry: Any) -> Iterable[Path]:
        """Return the images of an entry: a folder, a list of images, or an image."""
        place = self._place(str(entry))
        if place.is_dir():
            return sorted(path for path in walk(place) if path.suffix.lower() in IMAGE_SUFFIXES)
        if place.suffix.lower() in IMAGE_SUFFIXES:
            return [place]
        return [self._listed(place, number, line) for number, line in enumerate(read_lines(place), 1) if line]

    def _place(self, entry: str) -> Path:
        """Return the path that an entry states, relative to `path` in the yaml, if that is there, or to the yaml."""
        top = self.path.parent
        bases = [base for base in (top / str(self.stated.get("path") or "."), top) if base.is_dir()]
        # Some tools write ../train/images for what is beside the yaml.
        shorter = [entry.removeprefix(UP)] if entry.startswith(UP) else []
        tried = [base / part for part in (entry, *shorter) for base in bases]
        found = next((path for path in tried if path.exists()), None)
        if found is None:
            raise SplitNotFoundError(
                f"{self.path} states {entry}, and there is no {' nor '.join(map(str, dict.fromkeys(tried)))}.",
                "Paths are relative to the yaml, or to its path:. Correct them, or move the images there.",
            )
        return Path(os.path.normpath(found))

    def _listed(self, place: Path, number: int, line: str) -> Path:
        """Return the image that a line of a list names, relative to the list, to `path` in the yaml, or to the yaml."""
        top = self.path.parent
        bases = (place.parent, top / str(self.stated.get("path") or "."), top)
        name = line.replace("\\", "/")
        found = next((path for base in bases if (path := base / name).is_file()), None)
        if found is None:
            raise DatasetError(
                f"{place}, line {number}: there is no image {line}.", "Name it relative to the list or to the yaml."
            )
        return Path(os.path.normpath(found))


def read_yolo_tree(path: Path) -> YoloTree:
    """Read a data.yaml.

    Raises:
        DatasetNotFoundError: there is none.
        DatasetError: it is no yaml, names no classes, or is of poses.
    """
    if not path.is_file():
        there = sorted(found.name for found in path.parent.glob("*.y*ml"))
        hint = f"Set data.file={there[0]}; there are {listed(there)}." if there else "Write one, or set data.root=."
        raise DatasetNotFoundError(f"There is no {path}.", hint)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is no yaml: {str(error).splitlines()[0]}.", "Correct it there.") from error
    if not isinstance(content, dict) or not content.get("names"):
        raise DatasetError(f"{path} has no names.", NAMES)
    if "kpt_shape" in content:
        raise DatasetError(
            f"{path} is of poses, by its kpt_shape: keypoints are not read.", "Export boxes or polygons instead."
        )
    return YoloTree(path, _classes(path, content), content)


def _classes(path: Path, content: dict[str, Any]) -> tuple[str, ...]:
    names = content["names"]
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DatasetError(
                f"{path} numbers its names {listed([str(key) for key in names])}, not from 0 on without a gap.", NAMES
            )
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list):
        raise DatasetError(f"{path} has names that are no list.", NAMES)
    classes = tuple(map(str, names))
    twice = first_repeated(classes)
    if twice is not None:
        raise DatasetError(f"{path} names {twice} twice.", "Give each class a name of its own.")
    if content.get("nc") not in (None, len(classes)):
        raise DatasetError(f"{path} states nc: {content['nc']}, and has {len(classes)} names.", "Correct one of them.")
    return classes


def labels_of(image: Path) -> Path:
    """Return where the labels of an image are: a txt in labels/ where it is in images/, else beside it."""
    parts = list(image.parts)
    folders = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")
