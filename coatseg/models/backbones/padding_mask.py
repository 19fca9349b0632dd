"""The valid part of a padded batch: images of several sizes, each padded at the bottom and right.

Attention leaves padded keys out of its softmax by it: `summarize` in attention.py, and at full speed `exponentials` in
kernels/factorized_attention.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import NamedTuple

import torch
from torch import Tensor

from coatseg.errors import ConfigError
from coatseg.structures import Size


class Valid(NamedTuple):
    """The part of maps (B, C, H, W) that is not padding: `mask` (B, 1, H, W), true there, and `sizes`, by image."""

    mask: Tensor
    sizes: tuple[Size, ...]

    def keep(self, image: Tensor, beyond: float = 0.0) -> Tensor:
        """Replace all values outside the valid part, inf and nan included; maps keep their memory layout."""
        return torch.where(self.mask, image, beyond)

    def coarser(self, factor: int) -> Valid:
        """Return the valid part of maps `factor` times coarser: the cells wholly inside it, so sizes are floored."""
        mask = self.mask[..., factor - 1 :: factor, factor - 1 :: factor]
        return Valid(mask, tuple((height // factor, width // factor) for height, width in self.sizes))


def as_pairs(sizes: Sequence[Size] | Tensor | None) -> tuple[Size, ...] | None:
    """Return sizes, which may be a sequence or a tensor or array (B, 2), as pairs of integers.

    Raises:
        ConfigError: they are not pairs of integers.
    """
    if sizes is None:
        return None
    try:
        pairs = sizes.tolist() if hasattr(sizes, "tolist") else sizes
        return tuple((index(height), index(width)) for height, width in pairs)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"sizes={sizes!r} are not the sizes of images.", "Give a (height, width) in whole pixels for every image."
        ) from error


def find_valid(images: Tensor, sizes: Sequence[Size] | None) -> Valid | None:
    """Return the valid part of images (B, C, H, W), or None if no image has padding.

    Raises:
        ConfigError: there are not as many sizes as images, or one is larger than the images.
    """
    if sizes is None:
        return None
    height, width = images.shape[-2:]
    if len(sizes) != len(images):
        raise ConfigError(
            f"{len(sizes)} sizes were given for a batch of {len(images)} images.",
            "Give the (height, width) of every image, or leave sizes out if there is no padding.",
        )
    for rows, columns in sizes:
        if rows > height or columns > width:
            raise ConfigError(
                f"An image of {rows}x{columns} pixels does not fit into a batch of {height}x{width} pixels.",
                "Give each image's (height, width) before padding, and pad all to the largest height and width.",
            )
    if all((rows, columns) == (height, width) for rows, columns in sizes):
        return None
    row, column = torch.arange(height, device=images.device)[:, None], torch.arange(width, device=images.device)
    mask = torch.stack([(row < rows) & (column < columns) for rows, columns in sizes])
    return Valid(mask[:, None], tuple((rows, columns) for rows, columns in sizes))
