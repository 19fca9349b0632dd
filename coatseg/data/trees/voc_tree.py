"""Trees of images and xml files: Pascal VOC's with its lists, or folders as tools write them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from coatseg.data.annotations.classes import first_repeated, read_lines
from coatseg.data.annotations.formats.voc_xml import read_boxes
from coatseg.data.images.reading import IMAGE_SUFFIXES
from coatseg.data.images.walking import walk
from coatseg.data.trees.annotation_files import FileState, states_of
from coatseg.data.trees.lists import missing_list
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.data.trees.pairs import OwnTree
from coatseg.data.trees.splits import Splits, find_pairs, names_of_split
from coatseg.errors import DatasetError, DatasetNotFoundError, SplitNotFoundError, nearest

IMAGES, ANNOTATIONS, LISTS = "JPEGImages", "Annotations", "ImageSets/Main"
XML = frozenset({".xml"})


@dataclass(frozen=True)
class XmlPairs:
    """The images of a split, each with its xml, what was left out, and the folders of all and of all its xml."""

    top: Path
    annotations: Path
    pairs: tuple[MaskedImage, ...]
    repairs: tuple[str, ...] = ()


def find_xml_pairs(root: Path, split: str, images: str, annotations: str, splits: Splits) -> XmlPairs:
    """Find the images of a split, and the xml file of each or where it would be.

    VOC's lists in ImageSets/Main say which they are, if there are any and `splits` do not say otherwise.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: a folder is missing.
        DatasetError: no such split, an empty one, or no xml at all.
    """
    listed = splits.lists is None and splits.split_by in ("auto", "lists")
    tops = _tops(root, images, annotations) if listed else []
    if len(tops) > 1:
        raise DatasetNotFoundError(
            f"{root} holds more than one: {', '.join(path.name for path in tops)}.",
            "Set data.root= to the folder that holds the three; data/README.md draws it.",
        )
    if tops:
        return XmlPairs(tops[0], tops[0] / annotations, _listed(tops[0], split, images, annotations))
    if not any(path.is_dir() for path in (root / annotations, *root.glob(f"*/{annotations}"))):
        raise DatasetNotFoundError(
            f"Neither {root} nor a folder in it holds {images}, {annotations} and {LISTS}.",
            "Set data.root= to the folder that holds the three; data/README.md draws it. Other folders are named with "
            "data.images= and data.annotations=, which are . where images and xml files lie in data.root itself.",
        )
    tree = OwnTree(root, images, annotations, suffixes=XML, missing=True, option="annotations")
    found = find_pairs(tree, split, splits)
    below = root / annotations
    return XmlPairs(root, below if below.is_dir() else root, found.pairs, found.repairs)


def names_of_all(folder: Path) -> tuple[str, ...]:
    """Return the names of objects in all xml files below a folder, sorted; class numbers must not depend on the split.

    Raises:
        DatasetError: an xml makes no sense.
    """
    return _names_in(states_of(sorted(path for path in walk(folder) if path.suffix.lower() in XML)))


@lru_cache(maxsize=4)
def _names_in(files: tuple[FileState, ...]) -> tuple[str, ...]:
    return tuple(sorted({part.name for path, _, _ in files for part in read_boxes(path)[1]}))


def _tops(root: Path, *folders: str) -> list[Path]:
    """Return the folders, `root` or below, that hold images, annotations and lists."""
    candidates = [root, *sorted(root.glob("*")), *sorted(root.glob("VOCdevkit/*"))]
    return [path for path in candidates if all((path / part).is_dir() for part in (*folders, LISTS))]


def _listed(top: Path, split: str, images: str, annotations: str) -> tuple[MaskedImage, ...]:
    """Return the images that the list of a split names."""
    path = _list_of(top, split)
    stems = [line for line in read_lines(path) if line]
    if not stems:
        raise DatasetError(f"The list {path} is empty.", "Copy it again, or name one image a line.")
    twice = first_repeated(stems)
    if twice is not None:
        raise DatasetError(f"The list {path} names {twice} twice.", "List each image once.")
    files = sorted((top / images).iterdir(), reverse=True)
    there = {file.stem: file for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
    for number, stem in enumerate(stems, 1):
        if stem not in there:
            raise DatasetError(
                f"{path}, entry {number}: there is no image {stem!r} in {top / images}.",
                "A list names one image a line, without folder and suffix.",
            )
    return tuple(MaskedImage(stem, there[stem], top / annotations / f"{stem}.xml") for stem in stems)


def _list_of(top: Path, split: str) -> Path:
    paths = [top / LISTS / f"{name}.txt" for name in names_of_split(split)]
    found = next((path for path in paths if path.is_file()), None)
    if found is not None:
        return found
    there = [path.stem for path in paths[0].parent.glob("*.txt")]
    mend = missing_list(top, (LISTS,)) if there == ["default"] else "A list names one image a line."
    raise SplitNotFoundError(
        f"There is no list {paths[0]}.", nearest(split, there) if set(there) - {"default"} else mend
    )
