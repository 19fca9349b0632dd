"""An annotation file for each image, such as a json beside it: the images of a split, and what those without one are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coatseg.data.annotations.boxes import repair_line
from coatseg.data.datasets.own_splits import Splits, find_pairs
from coatseg.data.datasets.own_tree import OwnTree
from coatseg.data.images.reading import IMAGE_SUFFIXES
from coatseg.data.images.walking import walk
from coatseg.errors import DatasetError, DatasetNotFoundError

IMAGES = ("image", "images")
DONE = {
    "leave_out": "without an annotation file left out",
    "empty": "without an annotation file taken for images without objects",
}


@dataclass(frozen=True, kw_only=True)
class AnnotationFiles(Splits):
    """Where images and their annotation files are, the folders `images` and `annotations`, and what is in a split.

    A file has the path of its image, but for the suffix; "." is the root itself or, with splits in folders, that of a
    split. An image without a file may not have been annotated yet: by `without_file` it stops the run, is left out, or
    has no objects ("empty").
    """

    images: str = "."
    annotations: str = "."
    without_file: Literal["stop", "leave_out", "empty"] = "stop"


@dataclass(frozen=True)
class AnnotatedImage:
    """An image, its id in the split, and its annotation file, None where it has none and so no objects."""

    id: str
    image: Path
    file: Path | None


@dataclass(frozen=True)
class AnnotatedImages:
    """The images of a split, and what was left out or taken for empty, a line each."""

    images: tuple[AnnotatedImage, ...]
    lines: tuple[str, ...]


def annotated_images(root: Path, split: str, suffixes: frozenset[str], options: AnnotationFiles) -> AnnotatedImages:
    """Find the images of a split and their annotation files, which have one of `suffixes`.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: a folder is missing.
        DatasetError: no such split, an empty one, two files of one stem, an image without a file that is to have one.
    """
    check_root(root)
    tree = OwnTree(
        root, options.images, options.annotations, suffixes=suffixes, missing=True, option="annotations"
    )
    found = find_pairs(tree, split, options)
    bare = [pair for pair in found.pairs if not pair.mask.is_file()]
    if len(bare) == len(found.pairs) or (bare and options.without_file == "stop"):
        raise DatasetError(
            f"{len(bare)} of {len(found.pairs)} images in the split {split!r} have no annotation file, such as "
            f"{bare[0].mask} of {bare[0].image}.",
            "If they are where they should be, set data.without_file=leave_out, or data.without_file=empty if these "
            "images show no object; or name the folder of the files with data.annotations=.",
        )
    lines = (repair_line(IMAGES, len(bare), DONE[options.without_file], bare[0].image.name),) if bare else ()
    without = {pair.id for pair in bare}
    kept = (
        AnnotatedImage(pair.id, pair.image, None if pair.id in without else pair.mask)
        for pair in found.pairs
        if pair.id not in without or options.without_file == "empty"
    )
    return AnnotatedImages(tuple(kept), (*found.repairs, *lines))


def check_root(root: Path) -> None:
    """Raise DatasetNotFoundError if the folder of a dataset is missing."""
    if not root.is_dir():
        raise DatasetNotFoundError(f"There is no folder {root}.", "Set data.root= to the folder of the dataset.")


def files_of_images(root: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the annotation files of all splits: those below the root that are called as an image is, in order."""
    paths = list(walk(root))
    stems = {path.stem for path in paths if path.suffix.lower() in IMAGE_SUFFIXES}
    return sorted(path for path in paths if path.suffix.lower() in suffixes and path.stem in stems)
