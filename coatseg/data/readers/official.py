"""What the readers of official layouts share: lists of classes, the tree on disk, and masks with other numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_label_map
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, nearest
from coatseg.structures import Colour, Pixels


def official_classes(dataset: str) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Read the names and colours of a dataset's classes from its list in class_lists/, in the order of their labels."""
    text = (Path(__file__).parent / "class_lists" / f"{dataset}.txt").read_text(encoding="utf-8")
    entries = [line.rsplit(maxsplit=3) for line in text.splitlines() if not line.startswith("#")]
    return (
        tuple(name for name, *_ in entries),
        tuple((int(red), int(green), int(blue)) for _, red, green, blue in entries),
    )


def check_split(dataset: str, split: str, splits: Sequence[str], *, server: bool = False) -> None:
    """Raise if the dataset has no such split; with `server`, its test split is scored by its owners' server.

    Raises:
        ConfigError: the message names the nearest of `splits`.
    """
    if split not in splits:
        mend = nearest(split, splits)
        if server and split == "test":
            mend = f"{submitting(dataset)} {mend}"
        raise ConfigError(f"{dataset} has no split {split!r}.", mend)


def submitting(dataset: str) -> str:
    """Return what to do with images whose labels only the server of a dataset has."""
    return f"Labels of test are its server's alone: coatseg predict ... for={dataset} writes what that takes."


@dataclass(frozen=True)
class OfficialTree:
    """A dataset's files on disk: its registered name, its title, and what to get and unpack, in words after "get".

    `account` is whether only its owners distribute it, to those who have an account.
    """

    name: str
    title: str
    get: str
    account: bool = False

    def find(self, root: Path, layouts: Sequence[tuple[str, ...]], download: bool) -> tuple[Path, ...]:
        """Return the files and folders of the first layout that is complete under `root`.

        A layout is a tuple of paths relative to `root`. If none is complete and `download` is true, the dataset is
        fetched to `root` first.

        Raises:
            DatasetNotFoundError: no layout is complete, or the dataset cannot be downloaded.
        """
        found = _whole(root, layouts)
        if found is None and download:
            self._obtain(root)
            found = _whole(root, layouts)
        if found is None:
            fullest = max(layouts, key=lambda layout: sum((root / part).exists() for part in layout))
            missing = " and no ".join(part for part in fullest if not (root / part).exists())
            raise self._not_found(root, f": there is no {missing}", fetchable=not (self.account or download))
        return found

    def _obtain(self, root: Path) -> None:
        if self.account:
            raise self._not_found(
                root, ", and data.download=true cannot fetch it: it needs an account", fetchable=False
            )
        from coatseg.data.download import obtain

        obtain(self.name, root)

    def _not_found(self, root: Path, why: str, fetchable: bool) -> DatasetNotFoundError:
        way = f"Set data.download=true to fetch it there, or get {self.get}" if fetchable else f"Get {self.get}"
        return DatasetNotFoundError(
            f"{self.title} is not in {root}{why}.", f"{way} Where it lies elsewhere, set data.root=."
        )


def paired(images: Path, masks: Path) -> list[MaskedImage]:
    """Pair every .jpg of one folder with the .png of the same stem in another, in the order of their names.

    Raises:
        DatasetError: there is no image, or an image has no mask.
    """
    stems = sorted(path.stem for path in images.glob("*.jpg") if not path.name.startswith("."))
    if not stems:
        raise DatasetError(f"There is no .jpg in {images}.", "Unpack the archive again, whole.")
    there = {path.stem for path in masks.glob("*.png")}
    bare = [stem for stem in stems if stem not in there]
    if bare:
        others = f", and {len(bare) - 1} more have none" if len(bare) > 1 else ""
        raise DatasetError(
            f"The image {images / bare[0]}.jpg has no mask {masks / bare[0]}.png{others}.",
            "Unpack the archive of the masks again, whole, or take the image out.",
        )
    return [MaskedImage(stem, images / f"{stem}.jpg", masks / f"{stem}.png") for stem in stems]


class NumberedMasks:
    """Reads masks with other numbers than those of the classes: (H, W) mapped by `numbers`, uint8 if it holds them all.

    `title` is the name of the dataset for errors, and `mend` says which files hold the right numbers.
    """

    def __init__(self, title: str, numbers: Mapping[int, int], mend: str) -> None:
        self._title = title
        self._mend = mend
        free = {*range(256)}.difference(numbers.values())
        fits = len(free) == 256 - len({*numbers.values()}) > 0
        self._unknown = max(free) if fits else min(numbers.values()) - 1  # neither a class nor the ignore index
        self._last = max(255, *numbers)
        self._table = np.full(self._last + 1, self._unknown, np.uint8 if fits else np.int32)
        self._table[list(numbers)] = list(numbers.values())

    def __call__(self, path: Path, window: Window | None = None) -> Pixels:
        """Read one mask, or a window of it.

        Raises:
            ImageError: as `read_label_map`.
            DatasetError: it is a colour picture or a JPEG, or holds a number that the dataset does not have.
        """
        try:
            stored = read_label_map(path, window)
        except DatasetError as error:
            raise DatasetError(error.what, self._mend) from error
        labels = self._table.take(stored, mode="clip")
        wrong = (labels == self._unknown) | (stored < 0) | (stored > self._last)
        if wrong.any():
            y, x = (int(where) for where in np.unravel_index(wrong.argmax(), wrong.shape))
            stated = stored[y, x]
            y, x = (y + window.y, x + window.x) if window else (y, x)
            raise DatasetError(
                f"The mask {path} holds the number {stated}, first at (x={x}, y={y}), "
                f"which {self._title} does not have.",
                self._mend,
            )
        return labels


def _whole(root: Path, layouts: Sequence[tuple[str, ...]]) -> tuple[Path, ...] | None:
    found = (tuple(root / part for part in layout) for layout in layouts)
    return next((paths for paths in found if all(path.exists() for path in paths)), None)
