"""Test-time augmentation: the mean prediction of an image seen at several scales and mirrored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.structures import Size


class Activation(NamedTuple):
    """How a task's logits (B, K, H, W) become probabilities, and the inverse, so that means are decoded like logits."""

    probabilities: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor]


SOFTMAX = Activation(
    lambda logits: logits.softmax(1), lambda shares: shares.clamp_min(torch.finfo(shares.dtype).tiny).log()
)
"""The activation of tasks with one class a pixel."""

SIGMOID = Activation(torch.sigmoid, lambda shares: shares.logit(torch.finfo(shares.dtype).eps))
"""The activation of tasks that decide each class by itself."""


def mean_of_views(
    model: Callable[[Tensor], Tensor], images: Tensor, activation: Activation, scales: Sequence[float], flip: bool
) -> Tensor:
    """Return the mean probabilities of images (B, C, H, W) at each scale, with `flip` also mirrored, as logits.

    The logits are (B, K, H, W). Every view's logits are resized to the images' size before they become probabilities.
    """
    views = views_of(scales, flip)
    total: Tensor | None = None
    for scale, mirrored in views:
        probabilities = activation.probabilities(view(model, images, scale, mirrored))
        total = probabilities if total is None else total + probabilities
    assert total is not None
    return activation.logits(total / len(views))


def views_of(scales: Sequence[float], flip: bool) -> list[tuple[float, bool]]:
    """Return the views, as scale and whether mirrored: each scale as it is and, with `flip`, mirrored too."""
    return list(product(scales, (False, True) if flip else (False,)))


def scaled(size: Size, scale: float) -> Size:
    """Return an image's size at a scale, at least one pixel a side."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def view(model: Callable[[Tensor], Tensor], images: Tensor, scale: float, mirrored: bool) -> Tensor:
    """Return the logits of one view, turned and resized back; images are resized bilinearly, as in training."""
    size = images.shape[-2], images.shape[-1]
    seen = resized(images, scaled(size, scale))
    logits = model(seen.flip(-1)).flip(-1) if mirrored else model(seen)
    return resized(logits, size)


def resized(maps: Tensor, size: Size) -> Tensor:
    """Return maps (B, C, h, w) resized bilinearly to `size` (height, width)."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)
