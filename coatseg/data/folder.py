"""A dataset of one's own: a folder of images, a folder of masks, a file of class names.

The layouts are drawn in data/README.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from coatseg.data.classes import first_repeated, generated_palette, read_classes
from coatseg.data.files import Pair
from coatseg.data.images import IMAGE_SUFFIXES, read_label_map
from coatseg.data.layers import LayerMasks
from coatseg.data.lists import read_lines
from coatseg.data.windows import WindowedFiles, Windows
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, nearest
from coatseg.schema import PositiveInt, legal
from coatseg.structures import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD, DatasetInfo

LAYOUT = "Make images/, masks/ and classes.txt there (see data/README.md for splits), or set data.root=."
SPLIT_NAMES = ("train", "val", "test", "training", "valid", "validation", "testing")
LISTS_FORMAT = "A list, such as train.txt, names one image a line by its path in the images folder, without the suffix."

MOST_CHANNELS = 16


WindowSize = Annotated[tuple[PositiveInt, PositiveInt] | None, legal("Write two integers: [height,width]")]


class Folder(WindowedFiles):
    """The `split` of a dataset of one's own under `root`.

    `images` and `masks` are the names of the two folders, `classes` the file of class names. A mask has the path of
    its image, whatever the suffixes. `split_by` says where splits come from: "folders" (root/train/images or
    root/images/train), "lists" (root/train.txt with a stem a line), "fraction" (train and val, `val_fraction` of the
    images in val), "fold" (train and val, the `fold`-th of `folds` in val), or "auto": folders if there are any,
    lists if there are any, fraction otherwise. Fraction and fold go by a hash of the stem and `seed`, so that new
    files leave the others where they are.

    With `colour_masks` masks paint classes in the colours of the classes file. With `layers` they say for each class
    by itself where it is: masks/a.png for a single class, masks/CLASS/a.png for several (see LayerMasks).

    `mean` and `std` default to ImageNet's for 3 channels and to 0.5 and 0.25 otherwise; state them for float32 images,
    in their units.

    `channels`, 1 to 16, defaults to 3, or to the number of `bands`: those to pick of each file, counted from 1, in the
    order of the channels. With `window` (height, width) the split "train" is made of random windows, of which an epoch
    has `windows_per_image` of each image; other splits are read whole.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: `root` or its folders are missing.
        DatasetError: no such split, an empty one, images without a mask, two files of one stem, a bad classes file.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        images: str = "images",
        masks: str = "masks",
        classes: str = "classes.txt",
        split_by: str = "auto",
        val_fraction: float = 0.2,
        fold: int = 0,
        folds: int = 5,
        seed: int = 0,
        colour_masks: bool = False,
        layers: bool = False,
        ignore_index: int = IGNORE_INDEX,
        channels: int | None = None,
        bands: Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        window: WindowSize = None,
        windows_per_image: int = 1,
    ) -> None:
        root = Path(root)
        if not root.is_dir():
            raise DatasetNotFoundError(f"There is no folder {root}.", LAYOUT)
        listed = read_classes(root / classes)
        if 0 <= ignore_index < len(listed.names):
            raise ConfigError(
                f"data.ignore_index={ignore_index} is the class {listed.names[ignore_index]}.",
                f"Choose a number that is no class, from {len(listed.names)} on.",
            )
        count = _channel_count(channels, bands)
        windows = _windows(window, windows_per_image)
        if layers and colour_masks:
            raise ConfigError(
                "data.layers=true and data.colour_masks=true exclude each other.", "Leave one of them out."
            )
        layer_masks = LayerMasks(listed.names, ignore_index, _by_stem) if layers else None
        info = DatasetInfo(
            name=root.resolve().name,
            classes=listed.names,
            # The first colour is black, for a background; layers have none, and where no class is stays black.
            palette=listed.colours or generated_palette(len(listed.names) + layers)[layers:],
            annotates=frozenset({"multilabel" if layers else "semantic"}),
            ignore_index=ignore_index,
            mean=_per_channel("mean", mean, count, IMAGENET_MEAN, 0.5),
            std=_per_channel("std", std, count, IMAGENET_STD, 0.25),
        )
        tree = _Tree(root, images, masks, classes, layer_masks)
        splitters = {
            "folders": partial(_by_folders, tree, split),
            "lists": partial(_by_lists, tree, split),
            "fraction": partial(_by_fraction, tree, split, val_fraction, seed),
            "fold": partial(_by_fold, tree, split, fold, folds, seed),
        }
        chosen = _automatic(tree) if split_by == "auto" else split_by
        if chosen not in splitters:
            raise ConfigError(f"data.split_by={split_by} is no way to split.", nearest(split_by, [*splitters, "auto"]))
        pairs = splitters[chosen]()
        if not pairs:
            raise DatasetError(
                f"The split {split!r} of {root} (split_by={chosen}) is empty.",
                "Add images to it, or choose another data.split_by, data.val_fraction or data.folds.",
            )
        numbers = listed.colour_masks(root / classes, ignore_index) if colour_masks else read_label_map
        drawn = windows if split == "train" else None
        super().__init__(info, pairs, layer_masks or numbers, bands=bands, windows=drawn)


@dataclass(frozen=True)
class _Tree:
    root: Path
    images: str
    masks: str
    classes: str
    layers: LayerMasks | None

    def find_masks(self, folder: Path) -> dict[str, Path]:
        return self.layers.find(folder) if self.layers else _by_stem(folder)

    def mask_of(self, stem: str, folder: Path) -> Path:
        return (self.layers.folders(folder)[0] if self.layers else folder) / f"{stem}.png"


def _channel_count(channels: int | None, bands: Sequence[int] | None) -> int:
    if bands is not None and (not bands or min(bands) < 1):
        raise ConfigError(
            f"data.bands={list(bands)} names no bands.", "Bands are counted from 1, as GDAL counts: write [4,3,2]."
        )
    count = len(bands) if bands is not None else 3
    if channels is not None and bands is not None and channels != count:
        raise ConfigError(
            f"data.channels={channels}, but data.bands picks {count}.", "Leave data.channels out: bands give it."
        )
    count = count if channels is None else channels
    if not 1 <= count <= MOST_CHANNELS:
        raise ConfigError(
            f"data.channels={count}: images have 1 to {MOST_CHANNELS} channels.",
            f"Choose a number from 1 to {MOST_CHANNELS}, or pick some with data.bands=[4,3,2].",
        )
    return count


def _windows(window: tuple[int, int] | None, per_image: int) -> Windows | None:
    if per_image < 1:
        raise ConfigError(f"data.windows_per_image={per_image} draws none.", "Choose 1 or more.")
    if window is None:
        if per_image > 1:
            raise ConfigError(
                f"data.windows_per_image={per_image} without a window.", "Set data.window=[height,width] as well."
            )
        return None
    if len(window) != 2 or min(window) < 1:
        raise ConfigError(f"data.window={window} is not a size in pixels.", "Write two integers: [height,width].")
    return Windows((window[0], window[1]), per_image)


def _per_channel(
    key: str, stated: Sequence[float] | None, channels: int, of_rgb: tuple[float, ...], otherwise: float
) -> tuple[float, ...]:
    if stated is None:
        return of_rgb if channels == 3 else (otherwise,) * channels
    if len(stated) != channels or (key == "std" and min(stated) <= 0):
        raise ConfigError(
            f"data.{key}={list(stated)} does not fit data.channels={channels}.",
            f"Write {channels} numbers, one a channel{', above zero' if key == 'std' else ''}.",
        )
    return tuple(float(value) for value in stated)


def _automatic(tree: _Tree) -> str:
    """Choose by what looks like a split, so that a missing or misnamed one is an error and not a split by hash."""
    if any((place / name).is_dir() for place in (tree.root, tree.root / tree.images) for name in SPLIT_NAMES):
        return "folders"
    return "lists" if any((tree.root / f"{name}.txt").is_file() for name in SPLIT_NAMES) else "fraction"


def _by_folders(tree: _Tree, split: str) -> list[Pair]:
    root = tree.root
    outer = {
        path.parent.name: (path, path.parent / tree.masks) for path in root.glob(f"*/{tree.images}") if path.is_dir()
    }
    inner = {
        path.name: (path, root / tree.masks / path.name) for path in root.glob(f"{tree.images}/*") if path.is_dir()
    }
    there: Mapping[str, tuple[Path, Path]] = {**inner, **outer}
    if split not in there:
        raise DatasetError(
            f"{root} has no split {split!r}: neither {split}/{tree.images} nor {tree.images}/{split} is a folder.",
            nearest(split, there) if there else LAYOUT,
        )
    images, masks = _by_stem(there[split][0]), tree.find_masks(there[split][1])
    return _paired(tree, images, masks, images, there[split][1])


def _by_lists(tree: _Tree, split: str) -> list[Pair]:
    path = tree.root / f"{split}.txt"
    if not path.is_file():
        there = [found.stem for found in tree.root.glob("*.txt") if found.name != tree.classes]
        raise DatasetError(f"{tree.root} has no list {path.name}.", nearest(split, there) if there else LISTS_FORMAT)
    images, masks = _by_stem(tree.root / tree.images), tree.find_masks(tree.root / tree.masks)
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
    return _paired(tree, images, masks, stems, tree.root / tree.masks)


def _by_fraction(tree: _Tree, split: str, val_fraction: float, seed: int) -> list[Pair]:
    if not 0 < val_fraction < 1:
        raise ConfigError(f"data.val_fraction={val_fraction} is no share.", "Choose a number between 0 and 1.")
    return _hashed(tree, split, lambda stem: _draw(stem, seed) < val_fraction)


def _by_fold(tree: _Tree, split: str, fold: int, folds: int, seed: int) -> list[Pair]:
    if not (folds >= 2 and 0 <= fold < folds):
        raise ConfigError(
            f"data.fold={fold} of data.folds={folds} cannot be.", "Choose 2 folds or more, counted from 0."
        )
    return _hashed(tree, split, lambda stem: int(_draw(stem, seed) * folds) == fold)


def _hashed(tree: _Tree, split: str, is_val: Callable[[str], bool]) -> list[Pair]:
    if split not in ("train", "val"):
        raise ConfigError(f"{tree.root} is split into train and val, not {split!r}.", nearest(split, ("train", "val")))
    images, masks = _by_stem(tree.root / tree.images), tree.find_masks(tree.root / tree.masks)
    stems = [stem for stem in images if is_val(stem) == (split == "val")]
    return _paired(tree, images, masks, stems, tree.root / tree.masks)


def _draw(stem: str, seed: int) -> float:
    """Give a number in [0, 1) that belongs to the stem alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{stem}".encode()).digest()[:6], "big") / 2**48


def _by_stem(folder: Path) -> dict[str, Path]:
    """Map the path of every image file under the folder, without suffix, to the file, in order."""
    if not folder.is_dir():
        raise DatasetNotFoundError(f"There is no folder {folder}.", LAYOUT)
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() not in IMAGE_SUFFIXES or any(part.startswith(".") for part in inside.parts):
            continue
        stem = inside.with_suffix("").as_posix()
        if stem in found:
            raise DatasetError(
                f"{found[stem]} and {path} have one stem, {stem!r}.", "Rename one of them, and its mask or image."
            )
        found[stem] = path
    return found


def _paired(
    tree: _Tree, images: Mapping[str, Path], masks: Mapping[str, Path], stems: Iterable[str], folder: Path
) -> list[Pair]:
    stems = list(stems)
    bare = [stem for stem in stems if stem not in masks]
    if bare:
        others = f", and {len(bare) - 1} more have none" if len(bare) > 1 else ""
        raise DatasetError(
            f"The image {images[bare[0]]} has no mask in {folder}{others}.",
            f"Add {tree.mask_of(bare[0], folder)}, or take the image out.",
        )
    return [Pair(stem, images[stem], masks[stem]) for stem in stems]
