"""Resize images and labels, in augmentation and evaluation alike."""

from __future__ import annotations

from typing import Annotated

import cv2
import numpy as np
from pydantic import AfterValidator

from coatseg.registry.options import PositiveInt, legal
from coatseg.structures import Pixels, Size


def _in_order(sides: tuple[int, int]) -> tuple[int, int]:
    if sides[0] > sides[1]:
        raise ValueError("the shorter side is longer")
    return sides


Sides = Annotated[
    tuple[PositiveInt, PositiveInt],
    AfterValidator(_in_order),
    legal("Give [short, long], pixels of the shorter side and the most of the longer, such as [800,1333]; or null"),
]
"""The length of the shorter side after resizing, and the most that the longer side may have."""


def size_within(size: Size, short: int, long: int) -> Size:
    """Scale a size so that its shorter side is `short`, or its longer side `long` if that would exceed `long`.

    The other side is rounded to the nearest pixel, as MMDetection and Detectron2 do (torchvision rounds down); in
    integers, so that the side that decides is exact.
    """
    least, most = min(size), max(size)
    wanted, have = (short, least) if short * most <= long * least else (long, most)
    height, width = (max(1, (2 * side * wanted + have) // (2 * have)) for side in size)
    return height, width


def resize_image(image: Pixels, size: Size) -> Pixels:
    """Resize an image (H, W, C), by averaging over areas where it shrinks, bilinearly where it grows."""
    height, width = image.shape[:2]
    shrinks = size[0] * size[1] < height * width
    return _resized(image, size, cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def resize_labels(labels: Pixels, size: Size) -> Pixels:
    """Resize labels or ids (H, W) or (H, W, K) by nearest neighbour."""
    # NEAREST_EXACT keeps pixel centres where bilinear has them; NEAREST shifts labels by up to half a pixel.
    return _resized(labels, size, cv2.INTER_NEAREST_EXACT)


def _resized(array: Pixels, size: Size, method: int) -> Pixels:
    if array.shape[:2] == size:
        return array
    if array.ndim == 3 and array.shape[2] > 4:  # more channels than OpenCV can average over areas
        fours = (np.ascontiguousarray(array[..., first : first + 4]) for first in range(0, array.shape[2], 4))
        return np.concatenate([_resized(four, size, method) for four in fours], axis=2)
    return np.asarray(cv2.resize(array, size[::-1], interpolation=method)).reshape(*size, *array.shape[2:])
