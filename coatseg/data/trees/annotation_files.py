"""Images that each have an annotation file, such as a json beside them, and what those without one are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coatseg.data.annotations.objects.mended_boxes import repair_line
from coatseg.data.images.reading import IMAGE_SUFFIXES, stem_of
from coatseg.data.images.walking import walk
from coatseg.data.trees.pairs import FoundPairs, OwnTree
from coatseg.data.trees.splits import Splits, find_pairs
from coatseg.errors import DatasetError, DatasetNotFoundError

IMAGES = ("image", "images")
FileState = tuple[Path, int, int]
"""A file, when it was changed and how long it is: another one if the file is written anew."""
Policy = Literal["stop", "leave_out", "empty"]
DONE: dict[Policy, str] = {"leave_out": "left out", "empty": "taken to show no object"}


@dataclass(frozen=True, kw_only=True)
class AnnotationFiles(Splits):
    """Where images and their annotation files are, the folders `images` and `annotations`, and what is in a split.

    A file has the path of its image, but for the suffix; "." is the root itself or, with splits in folders, that of a
    split. An image without a file may not have been annotated yet: by `without_annotation` it stops the run, is left
    out, or has no objects ("empty").
    """

    images: str = "."
    annotations: str = "."
    without_annotation: Policy = "stop"


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
    found = pairs_of_split(root, split, options.annotations, suffixes, options)
    images = [AnnotatedImage(pair.id, pair.image, pair.mask if pair.mask.is_file() else None) for pair in found.pairs]
    where = f"no annotation file, such as {found.pairs[0].mask.with_suffix(min(suffixes))}"
    hint = "or name the folder of the files with data.annotations=."
    decided = decide(images, f"the split {split!r} of {root}", where, hint, options.without_annotation)
    return AnnotatedImages(decided.images, (*found.repairs, *decided.lines))


def pairs_of_split(
    root: Path, split: str, annotations: str, suffixes: frozenset[str], options: AnnotationFiles
) -> FoundPairs:
    """Find the images of a split with the paths where their annotation files are, or would be.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: a folder is missing.
        DatasetError: no such split, an empty one, two files of one stem.
    """
    tree = OwnTree(root, options.images, annotations, suffixes=suffixes, missing=True, option="annotations")
    return find_pairs(tree, split, options)


def decide(images: Sequence[AnnotatedImage], where: str, lack: str, hint: str, policy: Policy) -> AnnotatedImages:
    """Take, leave out or refuse the images that have no annotation.

    `where` says which images these are, `lack` what they have not, and `hint` how else it could be found.

    Raises:
        DatasetError: one has none, and that is to stop the run; or none has one.
    """
    bare = [image for image in images if image.file is None]
    if not bare:
        return AnnotatedImages(tuple(images), ())
    if len(bare) == len(images) or policy == "stop":
        raise DatasetError(
            f"{len(bare)} of {len(images)} images in {where} have {lack}; the first is {bare[0].image}.",
            "Set data.without_annotation=leave_out, or data.without_annotation=empty if these images show no object; "
            + hint,
        )
    kept = images if policy == "empty" else [image for image in images if image.file is not None]
    line = repair_line(IMAGES, len(bare), f"without annotations {DONE[policy]}", bare[0].image.name)
    return AnnotatedImages(tuple(kept), (line,))


def check_root(root: Path) -> None:
    """Raise DatasetNotFoundError if the folder of a dataset is missing."""
    if not root.is_dir():
        raise DatasetNotFoundError(f"There is no folder {root}.", "Set data.root= to the folder of the dataset.")


def files_of_images(root: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the annotation files of all splits: those below the root that are called as an image is, in order."""
    paths = list(walk(root))
    stems = {stem_of(Path(path.name)) for path in paths if path.suffix.lower() in IMAGE_SUFFIXES}
    return sorted(path for path in paths if path.suffix.lower() in suffixes and stem_of(Path(path.name)) in stems)


def states_of(files: Iterable[Path]) -> tuple[FileState, ...]:
    """Return files with what changes when they are written anew, by which what was read of them is cached."""
    return tuple((path, stated.st_mtime_ns, stated.st_size) for path in files for stated in [path.stat()])
