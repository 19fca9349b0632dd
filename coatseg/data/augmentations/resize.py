"""Random resizing with the aspect ratio kept: by a factor, to a shorter side, before or after a crop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import albumentations as alb
import cv2

from coatseg.data.augmentations.checks import SECTION, Lengths, PixelSize, check_range, checked_lengths, checked_size
from coatseg.data.augmentations.moves import Move, Moved, Resized, random_cut
from coatseg.data.images.resizing import size_within
from coatseg.errors import ConfigError
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, legal
from coatseg.structures import DatasetInfo, Size

# The sides of multi-scale training on COCO (DETR, Carion et al., ECCV 2020, section 4; detectron2, MMDetection).
SHORT = tuple(range(480, 801, 32))
LONG = 1333
Range = Annotated[Sequence[int], legal("Write [least,most], such as [384,600]")]


@register("augmentation", "scale")
def random_scale(info: DatasetInfo, *, low: float = 0.5, high: float = 2.0) -> alb.BasicTransform:
    """Make a step that resizes both sides by one factor, drawn uniformly from `low` to `high`.

    Images are averaged over areas when they shrink, and interpolated bilinearly when they grow.

    Raises:
        ConfigError: not 0 < low <= high.
    """
    if not 0 < low <= high:
        raise ConfigError(f"{SECTION}.scale.low={low} and scale.high={high} are no range.", "Choose 0 < low <= high.")
    # NEAREST_EXACT keeps pixel centres where bilinear has them; NEAREST shifts masks by up to half a pixel.
    return alb.RandomScale(
        scale_limit=(low - 1, high - 1),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST_EXACT,
        area_for_downscale="image",
        p=1.0,
    )


@register("augmentation", "resize")
def resize(
    info: DatasetInfo,
    *,
    short: Lengths = SHORT,
    long: PositiveInt = LONG,
    sampling: Literal["choice", "range"] = "choice",
) -> alb.BasicTransform:
    """Make a step that resizes the shorter side to a length of `short`, unless the longer would exceed `long`.

    The length is drawn from those in `short`; with the sampling "range" from all integers between its two. A single
    length is a fixed size, not an augmentation. Images are averaged over areas when they shrink, and interpolated
    bilinearly when they grow.

    Raises:
        ConfigError: a length is not a positive integer, or `long` is less than one of `short`.
    """
    return _Resize(info, _Lengths("resize", short, long, sampling))


@register("augmentation", "resize_or_crop")
def resize_or_crop(
    info: DatasetInfo,
    *,
    short: Lengths = SHORT,
    long: PositiveInt = LONG,
    crop: Range = (384, 600),
    crop_short: Lengths = (400, 500, 600),
    probability: float = 0.5,
) -> alb.BasicTransform:
    """Make a step that resizes as `resize` does and, with a `probability`, crops a window of random size before.

    The window is cut from the image resized to one of `crop_short`; its height and width are drawn independently
    between the two lengths of `crop`, and a shorter side is taken whole. This is DETR's augmentation (Carion et al.,
    ECCV 2020, section 4), with which CoaT's authors train their detectors. A window may show no object.

    Raises:
        ConfigError: a length or the probability is out of range, or `long` is less than one of `short`.
    """
    key = "resize_or_crop"
    check_range(f"{key}.probability", probability, 0, 1)
    sides = checked_lengths(f"{key}.crop", crop)
    if len(sides) != 2 or sides[0] > sides[1]:
        raise ConfigError(
            f"{SECTION}.{key}.crop={list(sides)} is no range.", "Write [least, most], such as [384, 600]."
        )
    first = checked_lengths(f"{key}.crop_short", crop_short)
    return _ResizeOrCrop(info, _Lengths(key, short, long), first, (sides[0], sides[1]), probability)


@register("augmentation", "jitter")
def jitter(info: DatasetInfo, *, size: PixelSize, low: float = 0.1, high: float = 2.0) -> alb.BasicTransform:
    """Make a step that resizes to fit into a multiple of `size` (height, width), then crops to `size`, or pads to it.

    The factor is drawn uniformly from `low` to `high`: large-scale jitter (Ghiasi et al., "Simple Copy-Paste is a
    Strong Data Augmentation Method for Instance Segmentation", CVPR 2021, section 3); 0.8 to 1.25 is their standard
    jitter. All images get the same size; smaller ones are padded at the bottom and right.

    Raises:
        ConfigError: `size` is not two positive integers, or not 0 < low <= high.
    """
    if not 0 < low <= high:
        raise ConfigError(f"{SECTION}.jitter.low={low} and jitter.high={high} are no range.", "Choose 0 < low <= high.")
    return _Jitter(info, checked_size("jitter.size", size), low, high)


class _Lengths:
    """The lengths that are drawn for the shorter side, and the size of the image that follows from each."""

    def __init__(self, key: str, short: Sequence[int], long: int, sampling: str = "choice") -> None:
        self._short = checked_lengths(f"{key}.short", short)
        self._long = long
        self._range = sampling == "range"
        if self._range and (len(self._short) != 2 or self._short[0] > self._short[1]):
            raise ConfigError(
                f"{SECTION}.{key}.short={list(self._short)} is no range.",
                f"Write [low, high], or {SECTION}.{key}.sampling=choice.",
            )
        if long < max(self._short):
            raise ConfigError(
                f"{SECTION}.{key}.long={long} is less than {max(self._short)} in {key}.short.",
                "It is the most that the longer side may have: choose more.",
            )

    def draw(self, size: Size, step: alb.BasicTransform) -> Size:
        """Draw a length, and return the size that an image of `size` is then resized to."""
        random = step.py_random
        short = random.randint(*self._short) if self._range else random.choice(self._short)
        return size_within(size, short, self._long)


class _Resize(Moved):
    def __init__(self, info: DatasetInfo, lengths: _Lengths) -> None:
        super().__init__(info)
        self._lengths = lengths

    def moves(self, size: Size, data: Mapping[str, Any]) -> Sequence[Move]:
        return [Resized(self._lengths.draw(size, self))]


class _ResizeOrCrop(Moved):
    def __init__(
        self, info: DatasetInfo, lengths: _Lengths, first: tuple[int, ...], crop: tuple[int, int], probability: float
    ) -> None:
        super().__init__(info)
        self._lengths = lengths
        self._first = first
        self._crop = crop
        self._probability = probability

    def moves(self, size: Size, data: Mapping[str, Any]) -> Sequence[Move]:
        if self.py_random.random() >= self._probability:
            return [Resized(self._lengths.draw(size, self))]
        short = self.py_random.choice(self._first)
        before = size_within(size, short, short * max(size))  # without a limit to the longer side
        least, most = self._crop
        height, width = (self.py_random.randint(min(side, least), min(side, most)) for side in before)
        cut = random_cut(before, (height, width), self.py_random)
        return [Resized(before), cut, Resized(self._lengths.draw(cut.size, self))]


class _Jitter(Moved):
    def __init__(self, info: DatasetInfo, size: Size, low: float, high: float) -> None:
        super().__init__(info)
        self._size = size
        self._low = low
        self._high = high

    def moves(self, size: Size, data: Mapping[str, Any]) -> Sequence[Move]:
        factor = self.py_random.uniform(self._low, self._high)
        fits = factor * min(want / have for want, have in zip(self._size, size, strict=True))
        height, width = (max(1, round(side * fits)) for side in size)
        return [Resized((height, width)), random_cut((height, width), self._size, self.py_random)]
