"""A dataset of one's own: a folder of images, a folder of masks, a file of class names.

The layouts are drawn in data/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from coatseg.data.annotations.classes import generated_palette, read_classes
from coatseg.data.annotations.multilabel_masks import LayerMasks
from coatseg.data.datasets.level_masks import LevelMasks
from coatseg.data.datasets.own_splits import LAYOUT, OwnTree, Splits, files_by_stem, find_pairs
from coatseg.data.datasets.windowed_files import WindowedFiles, Windows
from coatseg.data.images.reading import read_label_map
from coatseg.data.images.slides import FULL, scale_of
from coatseg.errors import ConfigError, DatasetNotFoundError
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeInt, PositiveFloat, PositiveInt, legal
from coatseg.structures import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD, DatasetInfo

MOST_CHANNELS = 16
WindowSize = Annotated[tuple[PositiveInt, PositiveInt] | None, legal("Write two integers: [height,width]")]


@register("dataset", "folder")
class Folder(WindowedFiles):
    """The `split` of a dataset of one's own under `root`.

    `images` and `masks` are the names of the two folders, `classes` the file of class names. A mask has the path of
    its image, whatever the suffixes; `splits` says which of them the split has.

    With `colour_masks` masks paint classes in the colours of the classes file. With `layers` they say for each class
    by itself where it is: masks/a.png for a single class, masks/CLASS/a.png for several (see LayerMasks).

    `mean` and `std` default to ImageNet's for 3 channels and to 0.5 and 0.25 otherwise; state them for float32 images,
    in their units.

    `channels`, 1 to 16, defaults to 3, or to the number of `bands`: those to pick of each file, counted from 1, in the
    order of the channels. With `window` (height, width) the split "train" is made of random windows, of which an epoch
    has `windows_per_image` of each image; other splits are read whole. Of slides and pyramids the images are the level
    of this number, `level`, 0 for full resolution, or of these `microns` a pixel; masks have the level's size, or
    are pyramids of class numbers that have such a level.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: `root` or its folders are missing.
        DatasetError: no such split, an empty one, images without a mask, two files of one stem, a bad classes file.
    """

    facts_in_words = ("by classes.txt", "semantic or multilabel")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        images: str = "images",
        masks: str = "masks",
        classes: str = "classes.txt",
        splits: Splits = Splits(),
        colour_masks: bool = False,
        layers: bool = False,
        ignore_index: int = IGNORE_INDEX,
        channels: int | None = None,
        bands: Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        window: WindowSize = None,
        windows_per_image: int = 1,
        level: NonNegativeInt | None = None,
        microns: PositiveFloat | None = None,
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
        scale = scale_of(level, microns)
        if layers and colour_masks:
            raise ConfigError(
                "data.layers=true and data.colour_masks=true exclude each other.", "Leave one of them out."
            )
        layer_masks = LayerMasks(listed.names, ignore_index, files_by_stem) if layers else None
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
        tree = OwnTree(root, images, masks, classes, layer_masks)
        found = find_pairs(tree, split, splits)
        self.repairs = found.repairs
        at_scale = read_label_map if scale == FULL else LevelMasks(scale)
        numbers = listed.colour_masks(root / classes, ignore_index) if colour_masks else at_scale
        drawn = windows if split == "train" else None
        super().__init__(info, found.pairs, layer_masks or numbers, bands=bands, scale=scale, windows=drawn)


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
