"""Flips and quarter turns."""

from __future__ import annotations

import albumentations as alb

from coatseg.data.augmentations.checks import check_range
from coatseg.registry.names import register
from coatseg.structures import DatasetInfo


@register("augmentation", "flip")
def horizontal_flip(info: DatasetInfo, *, probability: float = 0.5) -> alb.BasicTransform:
    """Make a step that flips left and right, with a probability.

    Raises:
        ConfigError: the probability is not in 0 to 1.
    """
    check_range("flip.probability", probability, 0, 1)
    return alb.HorizontalFlip(p=probability)


@register("augmentation", "vertical_flip")
def vertical_flip(info: DatasetInfo, *, probability: float = 0.5) -> alb.BasicTransform:
    """Make a step that flips top and bottom, with a probability: for images without an upside, such as aerial ones.

    Raises:
        ConfigError: the probability is not in 0 to 1.
    """
    check_range("vertical_flip.probability", probability, 0, 1)
    return alb.VerticalFlip(p=probability)


@register("augmentation", "rotate90")
def rotate90(info: DatasetInfo) -> alb.BasicTransform:
    """Make a step that turns by 0, 90, 180 or 270 degrees, equally often: for images without an upside."""
    return alb.RandomRotate90(p=1.0)
