"""Boxes in Pascal VOC's format: an xml for each image, and lists of the splits. The layout is in data/README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from coatseg.data.annotations.classes import check_class_names, generated_palette
from coatseg.data.annotations.formats.voc_xml import VOCObject, read_boxes
from coatseg.data.annotations.objects.kept import NOT_CHOSEN
from coatseg.data.annotations.objects.mended_boxes import BOXES, Boxes, check_not_fractions, mend_boxes, repair_line
from coatseg.data.datasets.voc import INFO as VOC
from coatseg.data.readers.object_files import ObjectFiles
from coatseg.data.trees.splits import Splits
from coatseg.data.trees.voc_tree import ANNOTATIONS, IMAGES, find_xml_pairs, names_of_all
from coatseg.errors import ConfigError, DatasetError, nearest
from coatseg.registry.names import register
from coatseg.structures import DatasetInfo, Instances, Size

CLASSES = VOC.classes[1:]
"""The 20 classes of Pascal VOC, without background."""
OBJECTS, IMAGES_WORDS = ("object", "objects"), ("image", "images")
LEFT_OUT = "of classes in data.leave_out left out"
SEVERAL = 3
"""How many boxes have to begin at 1, and none at 0, for them to be taken to count from 1."""


@register("dataset", "voc_boxes")
class VOCBoxes(ObjectFiles):
    """Reads boxes in Pascal VOC's format; `split` is a list in ImageSets/Main, such as train, val, trainval or test.

    `root` holds JPEGImages/, Annotations/ and ImageSets/Main/, or a folder that does, such as VOCdevkit/VOC2012. Where
    there is no ImageSets/Main, `splits` say which images a split has, as for other datasets of one's own. `images` and
    `annotations` are the names of the two folders, which may be one; "." is the folder above.

    `classes` are VOC's 20 by default, or your own, or with None all names in the xml files, sorted; objects of others
    are left out and counted, unless one of the classes is in no xml, which may be misspelt. Those in `leave_out` are
    left out with their objects. Corners are pixels inside the box, counted from 1 as in VOC; without
    `one_based` they are edges between pixels, counted from 0. Difficult objects are crowd, neither learnt nor counted,
    or with `crowd` "objects" objects as any other. All xml files of the split are read when the dataset is opened;
    where an image has none, that stops, or the image is left out, or taken to be empty, as `without_annotation` says.

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
        images: str = IMAGES,
        annotations: str = ANNOTATIONS,
        classes: Sequence[str] | None = CLASSES,
        leave_out: Sequence[str] = (),
        one_based: bool = True,
        crowd: Literal["leave_out", "objects"] = "leave_out",
        without_annotation: Literal["stop", "leave_out", "empty"] = "stop",
        splits: Splits = Splits(),
    ) -> None:
        found = find_xml_pairs(Path(root), split, images, annotations, splits)
        names = _chosen(found.annotations, classes, leave_out)
        self.info = DatasetInfo(
            name=found.top.resolve().name,
            classes=names,
            palette=generated_palette(len(names) + 1)[1:],
            annotates=frozenset({"boxes"}),
            things=tuple(range(len(names))),
        )
        self._pairs, self.repairs = found.pairs, found.repairs
        self._part_bare(found.annotations, without_annotation)
        self._read_objects(found.annotations, one_based, frozenset(leave_out), without_annotation == "empty")
        if crowd == "objects":
            self._take_difficult()

    def _part_bare(self, folder: Path, without_annotation: str) -> None:
        """Leave out the images without an xml, or keep them as images that show nothing, and count them."""
        bare = [pair for pair in self._pairs if not pair.mask.is_file()]
        if len(bare) == len(self._pairs):
            raise DatasetError(
                f"No image of the split has an xml in {folder}.", "Name their folder with data.annotations=."
            )
        if without_annotation == "leave_out":
            self._pairs = tuple(pair for pair in self._pairs if pair.mask.is_file())
        if bare and without_annotation != "stop":
            done = "left out" if without_annotation == "leave_out" else "taken to show nothing"
            self.repairs += (repair_line(IMAGES_WORDS, len(bare), f"without an xml {done}", bare[0].id),)

    def _read_objects(self, folder: Path, one_based: bool, leave_out: frozenset[str], empty: bool) -> None:
        """Read all xml files into arrays, which are fast to pass to worker processes; one may be missing if `empty`."""
        sizes: list[Size] = []
        taken: list[tuple[int, int, VOCObject]] = []
        left_out: dict[str, list[int]] = {NOT_CHOSEN: [], LEFT_OUT: []}
        others: dict[str, Path] = {}
        for index, pair in enumerate(self._pairs):
            size, objects = read_boxes(pair.mask) if pair.mask.is_file() or not empty else (None, ())
            sizes.append(size or self.size(index))
            for part in objects:
                if part.name in self.info.classes:
                    taken.append((index, self.info.classes.index(part.name), part))
                elif part.name in leave_out:
                    left_out[LEFT_OUT].append(index)
                else:
                    left_out[NOT_CHOSEN].append(index)
                    others.setdefault(part.name, pair.mask)
        self._check_others(others, folder)
        self._sizes = np.array(sizes, np.int64).reshape(-1, 2)
        owner = np.array([index for index, _, _ in taken], np.int64)
        stated = np.array([part.corners for _, _, part in taken], np.float64).reshape(-1, 4)
        check_not_fractions(folder, "boxes", stated)
        mended = mend_boxes(stated, self._sizes[owner], first_pixel=1 if one_based else None)
        names = [self._pairs[index].mask.name for index in owner.tolist()]
        self.repairs += mended.repairs(names.__getitem__)
        self.repairs += _otherwise_counted(stated, one_based, names)
        self.repairs += tuple(
            repair_line(OBJECTS, len(owners), done, self._pairs[owners[0]].mask.name)
            for done, owners in left_out.items()
            if owners
        )
        self._boxes = mended.boxes[mended.kept]
        self._labels = np.array([label for _, label, _ in taken], np.int64)[mended.kept]
        self._difficult = np.array([part.difficult for _, _, part in taken], bool)[mended.kept]
        self._begins = np.searchsorted(owner[mended.kept], np.arange(len(self._pairs) + 1))

    def _take_difficult(self) -> None:
        """Take the difficult objects as any other, and count them."""
        taken = np.flatnonzero(self._difficult)
        if len(taken):
            owner = int(np.searchsorted(self._begins, taken[0], "right")) - 1
            done = "marked difficult taken as any other"
            self.repairs += (repair_line(OBJECTS, len(taken), done, self._pairs[owner].mask.name),)
        self._difficult = np.zeros(len(self._difficult), bool)

    def _check_others(self, others: Mapping[str, Path], folder: Path) -> None:
        """Raise DatasetError if there are names of no class, met in these files, and a class that no xml names."""
        if others and not set(self.info.classes) <= set(names_of_all(folder)):
            name, path = next(iter(others.items()))
            raise DatasetError(
                f"{path} has an object {name!r}, which is no class.",
                "Name your own with data.classes=[...], or set data.classes=null to take all names in the files, or "
                f"leave it out with data.leave_out=[{name}]. {nearest(name, self.info.classes)}",
            )

    def __len__(self) -> int:
        return len(self._pairs)

    def image_of(self, index: int) -> tuple[str, Path]:
        """Return the id of a sample and the file of its image."""
        return self._pairs[index].id, self._pairs[index].image

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
                f"{self._pairs[index].mask} is of an image of {stated[0]}x{stated[1]}, and "
                f"{self.image_of(index)[1]} has {size[0]}x{size[1]}.",
                "Sizes are height x width. Annotate the image as it is, or correct <size> if only that is wrong.",
            )
        own = slice(self._begins[index], self._begins[index + 1])
        return Instances(self._boxes[own], self._labels[own], None, self._difficult[own])


def _chosen(folder: Path, classes: Sequence[str] | None, leave_out: Sequence[str]) -> tuple[str, ...]:
    """Return the classes: those named, or all in the xml files, without those that are left out.

    Raises:
        ConfigError: a class is named twice, none is left, or one is to be left out that is nowhere.
    """
    named = names_of_all(folder) if classes is None else classes
    strange = [name for name in leave_out if name not in named]
    there = names_of_all(folder) if strange else ()
    for name in strange:
        if name not in there:
            raise ConfigError(
                f"data.leave_out names {name!r}, which no xml below {folder} has.", nearest(name, {*named, *there})
            )
    return check_class_names([name for name in named if name not in leave_out])


def _otherwise_counted(stated: Boxes, one_based: bool, names: Sequence[str]) -> tuple[str, ...]:
    """Return a line on boxes that show that corners are counted otherwise than `one_based` says; or none."""
    first = np.minimum(stated[:, :2], stated[:, 2:]).min(1)
    if one_based:
        found = np.flatnonzero((first >= 0) & (first < 1))
        done = "beginning at 0, where VOC counts from 1; tools that count from 0 want data.one_based=false"
    else:
        found = np.flatnonzero(first == 1) if (first >= 1).all() else np.zeros(0, np.int64)
        found = found if len(found) >= SEVERAL else found[:0]
        done = "beginning at 1, and none at 0; VOC's own want data.one_based=true"
    return (repair_line(BOXES, len(found), done, names[int(found[0])]),) if len(found) else ()
