"""Images padded to what a head needs, and the padding kept out again: of the features, the logits and the objects.

Heads divide sizes by their strides, so images are padded to a multiple of a divisor, and images of several sizes to
that of the largest. What an image's features are must not depend on that: they are those of the image padded to its own
multiple of the divisor, as it would be alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.backbones.padding_mask import Valid, as_pairs, find_valid
from coatseg.structures import Level, Size


class Padded(NamedTuple):
    """A batch padded with zeros, the mean colour, at the bottom and right.

    `images` (B, C, H, W) are padded, and were of `size` (height, width) before. `valid` is the part of the images as
    they came that is no padding, None where they had none. `own` are the sizes that each image alone is padded to, the
    `sizes` that a backbone has to be told, or None where all are as large as the batch.
    """

    images: Tensor
    size: Size
    valid: Valid | None
    own: tuple[Size, ...] | None

    @property
    def sizes(self) -> list[Size]:
        """The (height, width) of each image without any padding."""
        return [self.size] * len(self.images) if self.valid is None else list(self.valid.sizes)

    def alone(self, pyramid: Sequence[Tensor], levels: Sequence[Level]) -> Iterator[tuple[Tensor, list[Tensor]]]:
        """Cut the batch and the pyramid made of it into each image (1, C, h, w) and its own part of the pyramid.

        Decoders know nothing of padding: one that is given both sees the image as if it were alone.
        """
        for index, (height, width) in enumerate(self.own or ()):
            yield (
                self.images[index : index + 1, :, :height, :width],
                [
                    features[index : index + 1, :, : height // level.stride, : width // level.stride]
                    for features, level in zip(pyramid, levels, strict=True)
                ],
            )

    def without(self, maps: Tensor) -> Tensor:
        """Cut maps (B, K, H, W) to the size of the images as they came, with zeros where these had padding."""
        height, width = self.size
        if torch.compiler.is_exporting():  # a slice of an unknown size would bind the graph to sizes that need one
            rows, columns = torch.arange(height, device=maps.device), torch.arange(width, device=maps.device)
            maps = maps.index_select(-2, rows).index_select(-1, columns)
        else:
            maps = maps[..., :height, :width]
        return maps if self.valid is None else self.valid.keep(maps)


def pad(images: Tensor, sizes: Sequence[Size] | None, divisor: int) -> Padded:
    """Pad images (B, C, H, W) to a multiple of `divisor`.

    `sizes` are the (height, width) of the images where they are padded already, with anything, inf and nan included.

    Raises:
        ConfigError: there are not as many sizes as images, or one is larger than the images.
    """
    height, width = images.shape[-2:]
    valid = find_valid(images, as_pairs(sizes))
    if valid is not None:
        images = valid.keep(images)
    padded = functional.pad(images, (0, -width % divisor, 0, -height % divisor))
    if valid is None:
        return Padded(padded, (height, width), None, None)
    own = tuple((rows + -rows % divisor, columns + -columns % divisor) for rows, columns in valid.sizes)
    differ = any(size != tuple(padded.shape[-2:]) for size in own)
    return Padded(padded, (height, width), valid, own if differ else None)
