"""Photometric distortion: random brightness, contrast, saturation and hue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import albumentations as alb
import cv2
import numpy as np

from coatseg.data.augmentations.checks import check_range
from coatseg.data.images.normalization import PIXEL_RANGE
from coatseg.registry.names import register
from coatseg.structures import DatasetInfo, Pixels


@register("augmentation", "photometric")
def photometric(
    info: DatasetInfo,
    *,
    brightness: float = 0.125,
    contrast: float = 0.5,
    saturation: float = 0.5,
    hue: float = 0.1,
    probability: float = 0.5,
) -> alb.BasicTransform:
    """Make a step that distorts colours as in SSD: each of the four with `probability`, contrast first or last.

    `brightness` is the largest shift, a share of the pixel range; `contrast` and `saturation` are the largest change of
    a factor about 1; `hue` is the largest turn, a share of the colour circle. Saturation and hue are for uint8 RGB
    only. float32 images have no pixel range: their shift is a share of 4 standard deviations of each channel, and
    contrast is changed about the mean. The defaults are those of MMSegmentation.

    Raises:
        ConfigError: an option is out of range.
    """
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    for name, strength in strengths.items():
        check_range(f"photometric.{name}", strength, 0, 1)
    check_range("photometric.probability", probability, 0, 1)
    return _Photometric(info, strengths, probability)


class _Photometric(alb.ImageOnlyTransform):  # type: ignore[misc]
    def __init__(self, info: DatasetInfo, strengths: Mapping[str, float], probability: float) -> None:
        super().__init__(p=1.0)
        self._info = info
        self._strengths = strengths
        self._probability = probability

    def get_params(self) -> dict[str, Any]:
        amounts = {
            name: self.py_random.uniform(-strength, strength) if self.py_random.random() < self._probability else 0.0
            for name, strength in self._strengths.items()
        }
        return {"amounts": amounts, "contrast_first": self.py_random.random() < 0.5}

    def apply(self, img: Pixels, amounts: Mapping[str, float], contrast_first: bool, **_: Any) -> Pixels:
        shift, factor = amounts["brightness"], 1 + amounts["contrast"]
        if img.dtype == np.float32:
            mean, std = np.array(self._info.mean, np.float32), np.array(self._info.std, np.float32)
            return (img - mean + shift * 4 * std) * np.float32(factor) + mean
        if img.dtype != np.uint8 or img.shape[2] != 3:
            return _linear(img, factor, shift * factor)
        img = _linear(img, factor, shift * factor) if contrast_first else _linear(img, 1.0, shift)
        img = _coloured(img, 1 + amounts["saturation"], amounts["hue"])
        return img if contrast_first else _linear(img, factor, 0.0)


def _linear(image: Pixels, factor: float, shift: float) -> Pixels:
    """Return image * factor + shift, where `shift` is a share of the pixel range, clipped to that range."""
    if factor == 1 and shift == 0:
        return image
    top = PIXEL_RANGE[image.dtype]
    levels = np.arange(top + 1) * factor + shift * top
    return _looked_up(image, levels.round().clip(0, top).astype(image.dtype))


def _coloured(image: Pixels, saturation: float, hue: float) -> Pixels:
    """Multiply the saturation and turn the hue of a uint8 RGB image."""
    if saturation == 1 and hue == 0:
        return image
    # All 256 steps of a byte go round the colour circle in the _FULL conversions.
    bytes_ = np.arange(256)
    table = np.stack([(bytes_ + round(hue * 256)) % 256, (bytes_ * saturation).clip(0, 255).round(), bytes_], axis=-1)
    turned = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table.astype(np.uint8)[None])
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_HSV2RGB_FULL))


def _looked_up(image: Pixels, levels: Pixels) -> Pixels:
    return cv2.LUT(image, levels).reshape(image.shape) if image.dtype == np.uint8 else levels[image]
