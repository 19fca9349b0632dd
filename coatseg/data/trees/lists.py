"""Lists of the images of a split, such as train.txt: a stem a line, a path, or the paths of an image and its mask."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath

from coatseg.data.annotations.classes import first_repeated, read_lines
from coatseg.data.images.reading import IMAGE_SUFFIXES, stem_of
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.data.trees.pairs import LEAVE_OUT, WORDS, FoundPairs, OwnTree, PairedFolders, images_left_out
from coatseg.errors import DatasetError, SplitNotFoundError, nearest

LISTS_FORMAT = (
    "A list, such as train.txt, names one image a line by its path in the images folder, with or without the suffix, "
    "or an image and its mask by their paths in the root."
)
LIST_PLACES = (".", "ImageSets/Segmentation", "ImageSets/Main")
"""Where lists are looked for, relative to the root: in it, and where Pascal VOC keeps them."""


def find_list(tree: OwnTree, names: Sequence[str], folder: str) -> Path:
    """Return the list of a split, which may go by `names`, the first before the others, in a folder below the root.

    Raises:
        SplitNotFoundError: there is none.
        DatasetError: two of the others are there.
    """
    place = tree.root / folder
    found = [place / f"{name}.txt" for name in names if (place / f"{name}.txt").is_file()]
    if not found:
        there = [path.stem for path in place.glob("*.txt") if path != tree.root / tree.classes]
        raise SplitNotFoundError(
            f"{place} has no list {names[0]}.txt.",
            nearest(names[0], there) if set(there) - {"default"} else missing_list(tree.root, (folder, *LIST_PLACES)),
        )
    if found[0].stem != names[0] and len(found) > 1:
        raise DatasetError(
            f"{place} has {' and '.join(path.name for path in found)}, both of which may list the split {names[0]!r}.",
            f"Rename the one that is meant to {names[0]}.txt.",
        )
    return found[0]


def missing_list(root: Path, places: Sequence[str] = LIST_PLACES) -> str:
    """Return what to do where lists are looked for in vain: name what there is, or say what a list is."""
    for place in places:
        if (root / place / "default.txt").is_file():
            path = PurePosixPath(place) / "default.txt"
            return f"There is {path} alone: set data.lists={path} to split its images by data.val_fraction."
    return LISTS_FORMAT


def listed_pairs(tree: OwnTree, path: Path, is_in: Callable[[str], bool] = lambda _: True) -> FoundPairs:
    """Return the images that a list names, in its order, each with its mask: those whose ids `is_in` tells.

    Raises:
        DatasetNotFoundError: a folder is missing.
        DatasetError: an image or a mask that is not there, or an image twice.
    """
    files = PairedFolders(tree, tree.root / tree.images, tree.root / tree.masks)
    lines = enumerate((line for line in read_lines(path) if line), 1)
    entries = [_entry(tree, files, line, f"{path}, entry {number}") for number, line in lines]
    ids = [entry if isinstance(entry, str) else entry.id for entry in entries]
    twice = first_repeated(ids)
    if twice is not None:
        raise DatasetError(f"{path} lists {twice!r} twice.", "List each image once.")
    chosen = [entry for entry, image_id in zip(entries, ids, strict=True) if is_in(image_id)]
    found = {pair.id: pair for pair in files.pairs(entry for entry in chosen if isinstance(entry, str))}
    found |= {
        entry.id: entry for entry in chosen if not isinstance(entry, str) and (tree.missing or entry.mask.is_file())
    }
    ids = list(filter(is_in, ids))
    return FoundPairs(
        tuple(found[image_id] for image_id in ids if image_id in found),
        images_left_out([image_id for image_id in ids if image_id not in found]),
    )


def _entry(tree: OwnTree, files: PairedFolders, line: str, place: str) -> MaskedImage | str:
    """Return what a line names: an image and its mask, or the stem of an image, whose mask is in the folder."""
    two = _two_paths(line, tree.suffixes)
    pair = None if two is None else _pair(tree, *two, place)
    if pair is not None:
        return pair
    by_folder = files.folder.is_dir() and not files.are_one
    if two is not None and not by_folder:
        raise DatasetError(f"{place}: there is no image {tree.root / _plain(two[0])}.", LISTS_FORMAT)
    if two is None and not by_folder and (tree.root / _plain(line)).is_file():
        return _pair_without_mask(tree, line, place)  # datumaro's camvid lists images without annotations so
    stem = _stem(line, tree.images, files.images)
    if stem is None:
        raise DatasetError(f"{place}: there is no image {line!r} in {files.folder}.", LISTS_FORMAT)
    return stem


def _two_paths(line: str, suffixes: Collection[str]) -> tuple[str, str] | None:
    """Part a line into the paths of an image and its mask, which may be quoted; None if it is not two paths."""
    for cut in (place for place, letter in enumerate(line) if letter.isspace()):
        image, mask = (part.strip().strip('"') for part in (line[:cut], line[cut:]))
        if _suffix(image) in IMAGE_SUFFIXES and _suffix(mask) in suffixes:
            return image, mask
    return None


def _pair(tree: OwnTree, image: str, mask: str, place: str) -> MaskedImage | None:
    """Return the pair that a line names by paths in the root; None if there is no such image."""
    if not (tree.root / _plain(image)).is_file():
        return None
    pair = MaskedImage(_id(tree, image), tree.root / _plain(image), tree.root / _plain(mask))
    if not pair.mask.is_file() and not tree.missing and not tree.leave_out:
        raise DatasetError(
            f"{place}: the image {pair.image} has no {WORDS[tree.option][0]} {pair.mask}.",
            "Paths of a list with two a line are relative to the root. Add the file, or take the line out"
            f"{LEAVE_OUT[tree.option]}.",
        )
    return pair


def _pair_without_mask(tree: OwnTree, image: str, place: str) -> MaskedImage:
    """Return the image that a line names by its path in the root, with the path where its mask might be."""
    if not tree.missing and not tree.leave_out:
        raise DatasetError(
            f"{place}: the image {tree.root / _plain(image)} is named without its {WORDS[tree.option][0]}.",
            f"Name that beside it, or take the line out{LEAVE_OUT[tree.option]}.",
        )
    stem = _id(tree, image)
    return MaskedImage(stem, tree.root / _plain(image), tree.mask_of(stem, tree.root / tree.masks))


def _id(tree: OwnTree, image: str) -> str:
    return stem_of(PurePosixPath(_plain(image).removeprefix(f"{tree.images}/")))


def _stem(line: str, folder: str, images: Collection[str]) -> str | None:
    """Return the stem of the image that a line names; None if there is none."""
    plain = _plain(line).removeprefix(f"{folder}/")
    bare = (stem_of(PurePosixPath(path)) for path in (line, plain) if _suffix(path) in IMAGE_SUFFIXES)
    return next((stem for stem in (line, plain, *bare) if stem in images), None)


def _plain(path: str) -> str:
    """Return a path as one below a folder: with slashes, and none in front."""
    return path.replace("\\", "/").removeprefix("./").lstrip("/")


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
