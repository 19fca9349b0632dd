"""A dataset of one's own: a folder of images, a folder of masks, a file of class names.

The layouts are drawn in data/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from coatseg.data.annotations.classes import ClassList, check_same_lists, generated_palette, read_classes
from coatseg.data.annotations.multilabel_masks import LayerMasks
from coatseg.data.images.reading import LabelMaps
from coatseg.data.images.slides import FULL, Scale, scale_of
from coatseg.data.images.statements.nodata import NoData, NoDataOption
from coatseg.data.readers.level_masks import LevelMasks
from coatseg.data.readers.mask_files import MaskReader
from coatseg.data.readers.official import NumberedMasks
from coatseg.data.readers.windowed_files import WindowedFiles, WindowSize, windows_of
from coatseg.data.trees.pairs import LAYOUT, OwnTree, masks_by_stem
from coatseg.data.trees.splits import Splits, find_pairs
from coatseg.errors import ConfigError, DatasetNotFoundError
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeInt, PositiveFloat
from coatseg.structures import IGNORE_INDEX, IMAGENET_MEAN, IMAGENET_STD, DatasetInfo

MOST_CHANNELS = 16


@register("dataset", "folder")
class Folder(WindowedFiles):
    """The `split` of a dataset of one's own under `root`.

    `images` and `masks` are the names of the two folders, which may be one, `classes` the file of class names. A mask
    has the path of its image with `mask_ending` after its stem, whatever the suffixes; an image without one stops, or
    by `without_annotation` is left out and counted. `splits` says which images the split has.

    With `colour_masks` masks paint classes in the colours of the classes file. With `layers` they say for each class
    by itself where it is: masks/a.png for a single class, masks/CLASS/a.png for several (see LayerMasks).

    `mean` and `std` default to ImageNet's for 3 channels and to 0.5 and 0.25 otherwise; state them for float32 images,
    in their units.

    `channels`, 1 to 16, defaults to 3, or to the number of `bands`: those to pick of each file, counted from 1, in the
    order of the channels. `nodata` says what pixels without data hold: "stated" for the value that each file states, a
    number, or "nan". They get the mean, and the label there is ignored; None takes them for any others. With `window`
    (height, width) the split "train" is made of random windows, of which an epoch has `windows_per_image` of each
    image; other splits are read whole. Of slides and pyramids the images are the level of this number, `level`, 0 for
    full resolution, or of these `microns` a pixel; masks have the level's size, or are pyramids of class numbers that
    have such a level.

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
        mask_ending: str = "",
        without_annotation: Literal["stop", "leave_out"] = "stop",
        classes: str = "classes.txt",
        splits: Splits = Splits(),
        colour_masks: bool = False,
        layers: bool = False,
        ignore_index: int = IGNORE_INDEX,
        channels: int | None = None,
        bands: Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        nodata: NoDataOption = None,
        window: WindowSize = None,
        windows_per_image: int = 1,
        level: NonNegativeInt | None = None,
        microns: PositiveFloat | None = None,
    ) -> None:
        root = Path(root)
        if not root.is_dir():
            raise DatasetNotFoundError(f"There is no folder {root}.", LAYOUT)
        listed = _classes_of(root, classes)
        if 0 <= ignore_index < len(listed.names):
            raise ConfigError(
                f"data.ignore_index={ignore_index} is the class {listed.names[ignore_index]}.",
                f"Choose a number that is no class, from {len(listed.names)} on.",
            )
        count = _channel_count(channels, bands)
        windows = windows_of(window, windows_per_image)
        scale = scale_of(level, microns)
        if layers and colour_masks:
            raise ConfigError(
                "data.layers=true and data.colour_masks=true exclude each other.", "Leave one of them out."
            )
        layer_masks = (
            LayerMasks(listed.names, ignore_index, partial(masks_by_stem, ending=mask_ending)) if layers else None
        )
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
        leave_out = without_annotation == "leave_out"
        tree = OwnTree(root, images, masks, classes, layer_masks, mask_ending, leave_out=leave_out)
        found = find_pairs(tree, split, splits)
        self.repairs = (*(listed.notes if colour_masks else ()), *found.repairs)
        if colour_masks:
            reader: MaskReader = listed.colour_masks(root / classes, ignore_index)
        else:
            reader = layer_masks or _reader_of_numbers(listed, root / classes, ignore_index, scale)
        drawn = windows if split == "train" else None
        filled = NoData.of(nodata, info.mean)
        super().__init__(info, found.pairs, reader, bands=bands, scale=scale, windows=drawn, nodata=filled)


def _classes_of(root: Path, classes: str) -> ClassList:
    """Read the classes file; one in a folder of a split has to list what those of the other splits do."""
    path = root / classes
    read = read_classes(path)
    if path.parent != root:
        check_same_lists(path, read)
    return read


def _reader_of_numbers(classes: ClassList, path: Path, ignore_index: int, scale: Scale) -> MaskReader:
    numbers = classes.labels_of_numbers(ignore_index)
    if not numbers:
        maps = LabelMaps(len(classes.names), ignore_index)
        return maps if scale == FULL else LevelMasks(scale, maps)
    return NumberedMasks(str(path), numbers, f"Give it a line in {path}; one called ignore leaves its pixels out.")


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
