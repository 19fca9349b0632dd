"""Boxes in Pascal VOC's format: an xml for each image, and lists of the splits. The layout is in data/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from coatseg.data.annotations.boxes import mend_boxes
from coatseg.data.annotations.classes import check_class_names, first_repeated, generated_palette, read_lines
from coatseg.data.annotations.voc_xml import read_boxes
from coatseg.data.datasets.object_files import ObjectFiles
from coatseg.data.datasets.voc import INFO as VOC
from coatseg.data.images.reading import IMAGE_SUFFIXES
from coatseg.errors import DatasetError, DatasetNotFoundError, SplitNotFoundError, nearest
from coatseg.registry.names import register
from coatseg.structures import DatasetInfo, Instances, Size

CLASSES = VOC.classes[1:]
"""The 20 classes of Pascal VOC, without background."""

IMAGES, ANNOTATIONS, LISTS = "JPEGImages", "Annotations", "ImageSets/Main"


@register("dataset", "voc_boxes")
class VOCBoxes(ObjectFiles):
    """Reads boxes in Pascal VOC's format; `split` is a list in ImageSets/Main, such as train, val, trainval or test.

    `root` holds JPEGImages/, Annotations/ and ImageSets/Main/, or a folder that does, such as VOCdevkit/VOC2012.
    `classes` are VOC's 20 by default, or your own, or with None all names in the xml files, sorted. Corners are pixels
    inside the box, counted from 1 as in VOC; without `one_based` they are edges between pixels, counted from 0.
    Difficult objects are crowd: neither learnt nor counted. All xml files of the split are read when the dataset is
    opened.

    Raises:
        ConfigError: a class is named twice, or there is none.
        DatasetNotFoundError: `root` holds no such folders.
        DatasetError: the list, an image or an xml is missing, an xml makes no sense, or a class is unknown.
    """

    facts_in_words = ("20, or your own", "boxes")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        classes: Sequence[str] | None = CLASSES,
        one_based: bool = True,
    ) -> None:
        top = _top(Path(root))
        names = check_class_names(_all_names(top / ANNOTATIONS) if classes is None else classes)
        self.info = DatasetInfo(
            name=top.resolve().name,
            classes=names,
            palette=generated_palette(len(names) + 1)[1:],
            annotates=frozenset({"boxes"}),
            things=tuple(range(len(names))),
        )
        self._top = top
        self._stems, self._suffixes = _images(top, split)
        self._read_objects(first_pixel=1 if one_based else None)

    def _read_objects(self, first_pixel: int | None) -> None:
        """Read all xml files into arrays, which are fast to pass to worker processes."""
        numbers = {name: label for label, name in enumerate(self.info.classes)}
        sizes, counts, labels, difficult, corners, owners = [], [], [], [], [], []
        for index, stem in enumerate(self._stems):
            path = self._top / ANNOTATIONS / f"{stem}.xml"
            size, objects = read_boxes(path)
            sizes.append(size or self.size(index))
            counts.append(len(objects))
            for part in objects:
                if part.name not in numbers:
                    raise DatasetError(
                        f"{path} has an object {part.name!r}, which is no class.",
                        "Name your own with data.classes=[...], or set data.classes=null to take all names in the "
                        f"files. {nearest(part.name, numbers)}",
                    )
                labels.append(numbers[part.name])
                difficult.append(part.difficult)
                corners.append(part.corners)
                owners.append(index)
        self._sizes = np.array(sizes, np.int64).reshape(-1, 2)
        owner = np.array(owners, np.int64)
        stated = np.array(corners, np.float64).reshape(-1, 4)
        mended = mend_boxes(stated, self._sizes[owner], first_pixel=first_pixel)
        self.repairs = mended.repairs(lambda number: f"{self._stems[owners[number]]}.xml")
        kept = mended.kept
        self._boxes = mended.boxes[kept].astype(np.float32)
        self._labels = np.array(labels, np.int64)[kept]
        self._difficult = np.array(difficult, bool)[kept]
        self._begins = np.searchsorted(owner[kept], np.arange(len(self._stems) + 1))

    def __len__(self) -> int:
        return len(self._stems)

    def image_of(self, index: int) -> tuple[str, Path]:
        """Return the id of a sample and the file of its image."""
        return self._stems[index], self._top / IMAGES / f"{self._stems[index]}{self._suffixes[index]}"

    def has_objects(self, index: int) -> bool:
        """Return whether a sample has an object that is not difficult."""
        return not self._difficult[self._begins[index] : self._begins[index + 1]].all()

    def instances_of(self, index: int, size: Size) -> Instances:
        """Return the objects of a sample.

        Raises:
            DatasetError: its xml states another size than the image's.
        """
        stated = tuple(self._sizes[index].tolist())
        if stated != size:
            raise DatasetError(
                f"{self._top / ANNOTATIONS / self._stems[index]}.xml is of an image of {stated[0]}x{stated[1]}, and "
                f"{self.image_of(index)[1]} has {size[0]}x{size[1]}.",
                "Sizes are height x width. Annotate the image as it is, or correct <size> if only that is wrong.",
            )
        own = slice(self._begins[index], self._begins[index + 1])
        return Instances(self._boxes[own], self._labels[own], None, self._difficult[own])


def _all_names(folder: Path) -> tuple[str, ...]:
    """Return the classes in all xml files of a folder, sorted; class numbers must not depend on the split."""
    return _names_in(folder, folder.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _names_in(folder: Path, modified: int) -> tuple[str, ...]:
    return tuple(sorted({part.name for path in folder.glob("*.xml") for part in read_boxes(path)[1]}))


def _top(root: Path) -> Path:
    """Return the folder that holds images, annotations and lists."""
    candidates = [root, *sorted(root.glob("*")), *sorted(root.glob("VOCdevkit/*"))]
    whole = [path for path in candidates if all((path / part).is_dir() for part in (IMAGES, ANNOTATIONS, LISTS))]
    if len(whole) != 1:
        several = f"{root} holds more than one: {', '.join(path.name for path in whole)}."
        raise DatasetNotFoundError(
            several if whole else f"Neither {root} nor a folder in it holds {IMAGES}, {ANNOTATIONS} and {LISTS}.",
            "Set data.root= to the folder that holds the three; data/README.md draws it.",
        )
    return whole[0]


def _images(top: Path, split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the stems that a list names, and the suffixes of their images."""
    path = top / LISTS / f"{split}.txt"
    if not path.is_file():
        there = [found.stem for found in path.parent.glob("*.txt")]
        raise SplitNotFoundError(
            f"There is no list {path}.", nearest(split, there) if there else "A list names one image a line."
        )
    stems = [line for line in read_lines(path) if line]
    if not stems:
        raise DatasetError(f"The list {path} is empty.", "Copy it again, or name one image a line.")
    twice = first_repeated(stems)
    if twice is not None:
        raise DatasetError(f"The list {path} names {twice} twice.", "List each image once.")
    files = sorted((top / IMAGES).iterdir(), reverse=True)
    suffixes = {file.stem: file.suffix for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
    for number, stem in enumerate(stems, 1):
        if stem not in suffixes:
            raise DatasetError(
                f"{path}, entry {number}: there is no image {stem!r} in {top / IMAGES}.",
                "A list names one image a line, without folder and suffix.",
            )
    return tuple(stems), tuple(suffixes[stem] for stem in stems)
