"""The splits of a dataset of one's own: which images each has, and the mask of each image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from coatseg.data.annotations.boxes import repair_line
from coatseg.data.annotations.classes import first_repeated, read_lines
from coatseg.data.annotations.multilabel_masks import LayerMasks
from coatseg.data.datasets.mask_files import MaskedImage
from coatseg.data.images.other_formats import words_on_other_formats
from coatseg.data.images.reading import IMAGE_SUFFIXES, NO_IMAGES, stem_of
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, SplitNotFoundError, nearest
from coatseg.registry.options import OptionGroup

LAYOUT = "Make images/, masks/ and classes.txt there (see data/README.md for splits), or set data.root=."
MASKS = ("mask", "masks")
SPLIT_NAMES = ("train", "val", "test", "training", "valid", "validation", "testing")
LISTS_FORMAT = "A list, such as train.txt, names one image a line by its path in the images folder, without the suffix."


@dataclass(frozen=True)
class OwnTree:
    """Where the folders, lists and classes of a dataset are, and how its masks are found.

    The stem of a mask is that of its image and `mask_ending`.
    """

    root: Path
    images: str
    masks: str
    classes: str
    layers: LayerMasks | None
    mask_ending: str = ""

    def find_masks(self, folder: Path) -> dict[str, Path]:
        """Map the stem of every mask below a folder to its file."""
        if self.layers:
            return self.layers.find(folder)
        ending = self.mask_ending
        masks = files_by_stem(folder).items()
        return {stem.removesuffix(ending): path for stem, path in masks if stem.endswith(ending)}

    def mask_of(self, stem: str, folder: Path) -> Path:
        """Return where the mask of an image would be."""
        return (self.layers.folders(folder)[0] if self.layers else folder) / f"{stem}{self.mask_ending}.png"


@dataclass(frozen=True, kw_only=True)
class Splits(OptionGroup):
    """The options of every dataset of one's own that say which images are in a split.

    `split_by` says where splits come from: "folders" (root/train/images or root/images/train), "lists" (root/train.txt
    with a stem a line), "fraction" (train and val, `val_fraction` of the images in val), "fold" (train and val, the
    `fold`-th of `folds` in val), or "auto": folders if there are any, lists if there are any, fraction otherwise.
    Fraction and fold go by a hash of the stem and `seed`, so that new files leave the others where they are.
    """

    split_by: str = "auto"
    val_fraction: float = 0.2
    fold: int = 0
    folds: int = 5
    seed: int = 0

    def by_fraction(self) -> Callable[[str], bool]:
        """Return a function that tells of a stem whether it is in val, where a fraction of all is.

        Raises:
            ConfigError: `val_fraction` is no share.
        """
        if not 0 < self.val_fraction < 1:
            raise ConfigError(f"data.val_fraction={self.val_fraction} is no share.", "Choose a number between 0 and 1.")
        return lambda stem: self._draw(stem) < self.val_fraction

    def by_fold(self) -> Callable[[str], bool]:
        """Return a function that tells of a stem whether it is in val, where one of several folds is.

        Raises:
            ConfigError: there is no such fold.
        """
        if not (self.folds >= 2 and 0 <= self.fold < self.folds):
            raise ConfigError(
                f"data.fold={self.fold} of data.folds={self.folds} cannot be.",
                "Choose 2 folds or more, counted from 0.",
            )
        return lambda stem: int(self._draw(stem) * self.folds) == self.fold

    def _draw(self, stem: str) -> float:
        """Return a number in [0, 1) that belongs to the stem alone."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{stem}".encode()).digest()[:6], "big") / 2**48


@dataclass(frozen=True)
class FoundPairs:
    """The images of a split, each with its mask, and what was left out of it, a line each."""

    pairs: tuple[MaskedImage, ...]
    repairs: tuple[str, ...] = ()


def find_pairs(tree: OwnTree, split: str, splits: Splits) -> FoundPairs:
    """Find the images of a split and their masks.

    A mask without an image is left out and counted, but where lists say which images there are.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: a folder is missing.
        DatasetError: no such split, an empty one, images without a mask, two files of one stem.
    """
    splitters: dict[str, Callable[[], FoundPairs]] = {
        "folders": partial(_by_folders, tree, split),
        "lists": partial(_by_lists, tree, split),
        "fraction": lambda: _hashed(tree, split, splits.by_fraction()),
        "fold": lambda: _hashed(tree, split, splits.by_fold()),
    }
    chosen = _automatic(tree) if splits.split_by == "auto" else splits.split_by
    if chosen not in splitters:
        raise ConfigError(f"data.split_by={chosen} is no way to split.", nearest(chosen, [*splitters, "auto"]))
    found = splitters[chosen]()
    if not found.pairs:
        others = words_on_other_formats(tree.root.rglob("*"))
        raise DatasetError(
            f"The split {split!r} of {tree.root} (split_by={chosen}) is empty.{others and ' '}{others}",
            "Add images to it, or choose another data.split_by, data.val_fraction or data.folds.",
        )
    return found


def _automatic(tree: OwnTree) -> str:
    """Return the way to split that the files look like: a missing or misnamed split is then an error, not a hash."""
    if any((place / name).is_dir() for place in (tree.root, tree.root / tree.images) for name in SPLIT_NAMES):
        return "folders"
    return "lists" if any((tree.root / f"{name}.txt").is_file() for name in SPLIT_NAMES) else "fraction"


def _by_folders(tree: OwnTree, split: str) -> FoundPairs:
    root = tree.root
    outer = {
        path.parent.name: (path, path.parent / tree.masks) for path in root.glob(f"*/{tree.images}") if path.is_dir()
    }
    inner = {
        path.name: (path, root / tree.masks / path.name) for path in root.glob(f"{tree.images}/*") if path.is_dir()
    }
    there: Mapping[str, tuple[Path, Path]] = {**inner, **outer}
    if split not in there:
        raise SplitNotFoundError(
            f"{root} has no split {split!r}: neither {split}/{tree.images} nor {tree.images}/{split} is a folder.",
            nearest(split, there) if there else LAYOUT,
        )
    images, masks = files_by_stem(there[split][0]), tree.find_masks(there[split][1])
    pairs = _paired(tree, images, masks, images, there[split][1])
    return FoundPairs(pairs, _left_out(images, masks, masks, there[split][1]))


def _by_lists(tree: OwnTree, split: str) -> FoundPairs:
    path = tree.root / f"{split}.txt"
    if not path.is_file():
        there = [found.stem for found in tree.root.glob("*.txt") if found.name != tree.classes]
        mend = nearest(split, there) if there else LISTS_FORMAT
        raise SplitNotFoundError(f"{tree.root} has no list {path.name}.", mend)
    images, masks = files_by_stem(tree.root / tree.images), tree.find_masks(tree.root / tree.masks)
    stems = [line for line in read_lines(path) if line]
    for number, stem in enumerate(stems, 1):
        if stem not in images:
            raise DatasetError(
                f"{path}, entry {number}: there is no image {stem!r} in {tree.root / tree.images}.",
                LISTS_FORMAT,
            )
    twice = first_repeated(stems)
    if twice is not None:
        raise DatasetError(f"{path} lists {twice!r} twice.", "List each image once.")
    return FoundPairs(_paired(tree, images, masks, stems, tree.root / tree.masks))


def _hashed(tree: OwnTree, split: str, is_val: Callable[[str], bool]) -> FoundPairs:
    if split not in ("train", "val"):
        raise ConfigError(f"{tree.root} is split into train and val, not {split!r}.", nearest(split, ("train", "val")))
    folder = tree.root / tree.masks
    images, masks = files_by_stem(tree.root / tree.images), tree.find_masks(folder)
    of_images, of_masks = ([stem for stem in stems if is_val(stem) == (split == "val")] for stems in (images, masks))
    return FoundPairs(_paired(tree, images, masks, of_images, folder), _left_out(images, masks, of_masks, folder))


def files_by_stem(folder: Path) -> dict[str, Path]:
    """Map the path of every image file under the folder, without suffix (or .ome.tif), to the file, in order."""
    if not folder.is_dir():
        raise DatasetNotFoundError(f"There is no folder {folder}.", LAYOUT)
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.endswith(NO_IMAGES):
            continue
        if any(part.startswith(".") for part in inside.parts):
            continue
        stem = stem_of(inside)
        if stem in found:
            raise DatasetError(
                f"{found[stem]} and {path} have one stem, {stem!r}.", "Rename one of them, and its mask or image."
            )
        found[stem] = path
    return found


def _paired(
    tree: OwnTree, images: Mapping[str, Path], masks: Mapping[str, Path], stems: Iterable[str], folder: Path
) -> tuple[MaskedImage, ...]:
    stems = list(stems)
    bare = [stem for stem in stems if stem not in masks]
    if bare:
        others = f", and {len(bare) - 1} more have none" if len(bare) > 1 else ""
        raise DatasetError(
            f"The image {images[bare[0]]} has no mask in {folder}{others}.",
            f"Add {tree.mask_of(bare[0], folder)}, or take the image out.",
        )
    return tuple(MaskedImage(stem, images[stem], masks[stem]) for stem in stems)


def _left_out(
    images: Mapping[str, Path], masks: Mapping[str, Path], stems: Iterable[str], folder: Path
) -> tuple[str, ...]:
    """Count the masks of `stems` without an image: a line, or none."""
    spare = [masks[stem].relative_to(folder).as_posix() for stem in stems if stem not in images]
    return (repair_line(MASKS, len(spare), "without an image left out", spare[0]),) if spare else ()
