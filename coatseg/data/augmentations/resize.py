"""Images in other sizes, their shape kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import albumentations as alb
import cv2

from coatseg.data.augmentations.checks import checked_lengths
from coatseg.data.augmentations.moves import Move, Moved, Resized
from coatseg.data.resizing import size_within
from coatseg.errors import ConfigError
from coatseg.structures import DatasetInfo, Size

SHORT = tuple(range(480, 801, 32))
LONG = 1333
"""The sides of multi-scale training on COCO (DETR, Carion et al., ECCV 2020, section 4; detectron2, MMDetection)."""


def random_scale(info: DatasetInfo, *, low: float = 0.5, high: float = 2.0) -> alb.BasicTransform:
    """Resize by a factor drawn evenly from `low` to `high`, both sides alike.

    Images are averaged over areas when they shrink, bilinear when they grow.

    Raises:
        ConfigError: not 0 < low <= high.
    """
    if not 0 < low <= high:
        raise ConfigError(f"scale.low={low} and scale.high={high} are no range.", "Choose 0 < low <= high.")
    # NEAREST_EXACT keeps pixel centres where bilinear has them; NEAREST shifts masks by up to half a pixel.
    return alb.RandomScale(
        scale_limit=(low - 1, high - 1),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST_EXACT,
        area_for_downscale="image",
        p=1.0,
    )


def resize(
    info: DatasetInfo,
    *,
    short: Sequence[int] = SHORT,
    long: int = LONG,
    sampling: Literal["choice", "range"] = "choice",
) -> alb.BasicTransform:
    """Resize so that the shorter side has a length of `short`, unless the longer would pass `long`.

    The length is one of those in `short`; with the sampling "range" any integer between its two. One length alone is
    no augmentation but a size. Images are averaged over areas when they shrink, bilinear when they grow.

    Raises:
        ConfigError: lengths that are none, or `long` is less than one of `short`.
    """
    return _Resize(info, _Lengths("resize", short, long, sampling))


class _Lengths:
    """The lengths that a shorter side may get, each with the size of the whole."""

    def __init__(self, key: str, short: Sequence[int], long: int, sampling: str = "choice") -> None:
        self._short = checked_lengths(f"{key}.short", short)
        self._long = long
        self._range = sampling == "range"
        if self._range and (len(self._short) != 2 or self._short[0] > self._short[1]):
            raise ConfigError(
                f"{key}.short={list(self._short)} is no range.", f"Write [low, high], or {key}.sampling=choice."
            )
        if long < max(self._short):
            raise ConfigError(
                f"{key}.long={long} is less than {max(self._short)} in {key}.short.",
                "It is the most that the longer side may have: choose more.",
            )

    def draw(self, size: Size, step: alb.BasicTransform) -> Size:
        """Draw a length, and give the size that an image then gets."""
        random = step.py_random
        short = random.randint(*self._short) if self._range else random.choice(self._short)
        return size_within(size, short, self._long)


class _Resize(Moved):
    def __init__(self, info: DatasetInfo, lengths: _Lengths) -> None:
        super().__init__(info)
        self._lengths = lengths

    def moves(self, size: Size, data: Mapping[str, Any]) -> Sequence[Move]:
        return [Resized(self._lengths.draw(size, self))]
