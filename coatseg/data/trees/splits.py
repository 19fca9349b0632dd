"""The splits of a dataset of one's own: which images each has, by folders, by lists, or by a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from coatseg.data.images.other_formats import words_on_other_formats
from coatseg.data.images.reading import IMAGE_SUFFIXES
from coatseg.data.trees.found_instead import files_of_no_kind
from coatseg.data.trees.lists import LIST_PLACES, find_list, listed_pairs, missing_list
from coatseg.data.trees.pairs import FoundPairs, OwnTree, PairedFolders, layout_to_make
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, SplitNotFoundError, nearest
from coatseg.registry.options import OptionGroup

SPLIT_NAMES = (("train", "training"), ("val", "valid", "validation"), ("test", "testing"))
"""What tools call a split: the names of a line are taken for each other."""
KNOWN_NAMES = tuple(name for names in SPLIT_NAMES for name in names)


def names_of_split(split: str) -> tuple[str, ...]:
    """Return the names by which a split may go on disk, the one asked for first."""
    alike = next((names for names in SPLIT_NAMES if split in names), ())
    return (split, *(name for name in alike if name != split))


@dataclass(frozen=True, kw_only=True)
class HashedSplits(OptionGroup):
    """The options of splits into train and val by a hash.

    `split_by` is "fraction", with `val_fraction` of the images in val, or "fold", with the `fold`-th of `folds` in val.
    The hash is of the stem and `seed`, so that new files leave the others where they are.
    """

    split_by: str = "fraction"
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

    def chooser(self, split: str, source: Path) -> Callable[[str], bool]:
        """Return a function that tells of a stem whether it is in `split` of the json `source`, which has all images.

        Raises:
            ConfigError: there is no such split, or an option cannot be.
        """
        ways = {"fraction": self.by_fraction, "fold": self.by_fold}
        if self.split_by not in ways:
            raise ConfigError(f"data.split_by={self.split_by} is no way to split.", nearest(self.split_by, ways))
        if split not in ("train", "val"):
            raise ConfigError(
                f"{source} is split into train and val, not {split!r}.",
                f"{nearest(split, ('train', 'val'))} For more name a json for each: "
                "data.annotations.train=FILE data.annotations.val=FILE data.annotations.test=FILE",
            )
        is_val = ways[self.split_by]()
        return lambda stem: is_val(stem) == (split == "val")

    def _draw(self, stem: str) -> float:
        """Return a number in [0, 1) that belongs to the stem alone."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{stem}".encode()).digest()[:6], "big") / 2**48


@dataclass(frozen=True, kw_only=True)
class Splits(HashedSplits):
    """The options of every dataset of one's own that say which images are in a split.

    `split_by` says where splits come from: "folders" (root/train/images or root/images/train), "lists" (root/train.txt,
    an image a line), "fraction" or "fold", or "auto": folders if there are any, lists if there are any, fraction
    otherwise. `lists` is the folder of the lists, relative to the root, or one list of images for a fraction or fold.
    """

    split_by: str = "auto"
    lists: str | None = None


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
        "lists": partial(_by_lists, tree, split, splits),
        "fraction": lambda: _hashed(tree, split, splits, splits.by_fraction()),
        "fold": lambda: _hashed(tree, split, splits, splits.by_fold()),
    }
    chosen = _automatic(tree, splits) if splits.split_by == "auto" else splits.split_by
    if chosen not in splitters:
        raise ConfigError(f"data.split_by={chosen} is no way to split.", nearest(chosen, [*splitters, "auto"]))
    _check_lists(tree, splits, chosen)
    found = splitters[chosen]()
    if not found.pairs:
        places = (tree.root / place for name in names_of_split(split) for place in _places(name, tree.images))
        hint = next(filter(None, map(_passed_over, places)), "")
        raise DatasetError(
            f"The split {split!r} of {tree.root} (split_by={chosen}) is empty.",
            f"{hint}Add images to it, or choose another data.split_by, data.val_fraction or data.folds.",
        )
    return found


def _passed_over(place: Path) -> str:
    """Say which files of a folder are no images that are read; empty if none are there."""
    others = words_on_other_formats(place.glob("[!.]*"))
    return f"{others} " if others else files_of_no_kind(place, IMAGE_SUFFIXES)


def _automatic(tree: OwnTree, splits: Splits) -> str:
    """Return the way to split that the files look like: a missing or misnamed split is then an error, not a hash."""
    if splits.lists is not None:
        return "fraction" if (tree.root / splits.lists).is_file() else "lists"
    if not _split_folders(tree).keys().isdisjoint(KNOWN_NAMES):
        return "folders"
    if _place_of_lists(tree) is not None:
        return "lists"
    named = any((place / name).is_dir() for place in (tree.root, tree.root / tree.images) for name in KNOWN_NAMES)
    return "folders" if named else "fraction"


def _place_of_lists(tree: OwnTree) -> str | None:
    """Return the first of LIST_PLACES that has the list of a split: all splits are by the lists there."""
    return next(
        (place for place in LIST_PLACES if any((tree.root / place / f"{name}.txt").is_file() for name in KNOWN_NAMES)),
        None,
    )


def _check_lists(tree: OwnTree, splits: Splits, chosen: str) -> None:
    """Raise ConfigError or DatasetNotFoundError if data.lists does not fit the way to split."""
    if splits.lists is None:
        return
    path = tree.root / splits.lists
    if not path.exists():
        raise DatasetNotFoundError(f"There is no {path}.", missing_list(tree.root))
    fits = ("fraction", "fold") if path.is_file() else ("lists",)
    if chosen not in fits:
        kind = "one list of images" if path.is_file() else "a folder of lists"
        raise ConfigError(
            f"data.lists={splits.lists} is {kind}, which data.split_by={chosen} does not read.",
            f"Set data.split_by={' or data.split_by='.join(fits)}, or leave data.lists out.",
        )


def _by_folders(tree: OwnTree, split: str) -> FoundPairs:
    there = _split_folders(tree)
    names = [name for name in names_of_split(split) if name in there]
    if not names:
        raise SplitNotFoundError(
            f"{tree.root} has no split {split!r}: {_not_folders(split, tree.images)}.",
            nearest(split, there) if there else layout_to_make(tree.root / split / tree.images, tree.option),
        )
    if split not in there and len(names) > 1:
        raise DatasetError(
            f"{tree.root} has {' and '.join(names)}, both of which may be the split {split!r}.",
            f"Rename the one that is meant to {split}.",
        )
    files = PairedFolders(tree, *there[names[0]])
    return files.found(files.images, files.masks)


def _places(split: str, images: str) -> tuple[str, ...]:
    """Return where images of a split may be, relative to the root."""
    return (f"{split}/{images}", f"{images}/{split}", images)


def _not_folders(split: str, images: str) -> str:
    return f"neither {split}/{images} nor {images}/{split} is a folder" if images != "." else f"{split} is no folder"


def _split_folders(tree: OwnTree) -> dict[str, tuple[Path, Path]]:
    """Map each split in folders to its folder of images and that of its masks."""
    root, images, masks = tree.root, tree.root / tree.images, tree.root / tree.masks
    inner = {path.name: (path, masks / path.name) for path in _folders_in(images) if path != masks}
    outer = {path.name: (path / tree.images, path / tree.masks) for path in _folders_in(root)}
    # With data.images=. one folder is both; where its masks are decides.
    return {
        **inner,
        **{name: found for name, found in outer.items() if found[0].is_dir() and _decides(found, inner.get(name))},
    }


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("[!.]*") if path.is_dir()]


def _decides(outer: tuple[Path, Path], inner: tuple[Path, Path] | None) -> bool:
    return inner is None or outer[1].is_dir() or not inner[1].is_dir()


def _by_lists(tree: OwnTree, split: str, splits: Splits) -> FoundPairs:
    place = _place_of_lists(tree) or "." if splits.lists is None else splits.lists
    return listed_pairs(tree, find_list(tree, names_of_split(split), place))


def _hashed(tree: OwnTree, split: str, splits: Splits, is_val: Callable[[str], bool]) -> FoundPairs:
    if split not in ("train", "val"):
        raise ConfigError(f"{tree.root} is split into train and val, not {split!r}.", nearest(split, ("train", "val")))

    def is_in(stem: str) -> bool:
        return is_val(stem) == (split == "val")

    if splits.lists is not None:
        return listed_pairs(tree, tree.root / splits.lists, is_in)
    files = PairedFolders(tree, tree.root / tree.images, tree.root / tree.masks)
    return files.found(filter(is_in, files.images), filter(is_in, files.masks))
