"""A batch of images of several sizes, as a transformer sees it: which tokens are of an image, and where they lie.

In training a head sees images padded to the largest. What an image gives must not depend on that: it is what it would
give alone, on its own canvas, which is the multiple of the head's divisor that it is padded to by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from coatseg.structures import Size

TEMPERATURE = 10000
"""Of the sine position embeddings (Vaswani et al., 2017, section 3.5)."""


@dataclass(frozen=True)
class Canvases:
    """The levels of a batch as rows of tokens, level after level, from fine to coarse.

    `images` are each image's own canvas (height, width) in pixels; `shapes` the (height, width) of the batch's maps,
    `own` for each level those of each image in them.
    """

    images: tuple[Size, ...]
    shapes: tuple[Size, ...]
    own: tuple[tuple[Size, ...], ...]

    @classmethod
    def of(cls, batch: Size, sizes: Sequence[Size], strides: Sequence[int], divisor: int) -> Canvases:
        """Return those of images of `sizes`, without padding, at `strides`, in a batch of images of one size.

        Strides up to the divisor divide every canvas; beyond it a side is half of that of the level before, rounded up,
        which is what a convolution of stride 2 leaves.
        """
        images = tuple((rows + -rows % divisor, columns + -columns % divisor) for rows, columns in sizes)
        own = tuple(tuple(_coarser(image, stride) for image in images) for stride in strides)
        return cls(images, tuple(_coarser(batch, stride) for stride in strides), own)

    @property
    def padded(self) -> bool:
        """Whether any image is smaller than the batch."""
        return any(size != shape for level, shape in zip(self.own, self.shapes, strict=True) for size in level)

    @property
    def tokens(self) -> list[int]:
        """How many tokens each level has."""
        return [height * width for height, width in self.shapes]

    @property
    def fewest_tokens(self) -> int:
        """How many tokens the smallest image has on all of its levels."""
        counts = [sum(level[image][0] * level[image][1] for level in self.own) for image in range(len(self.images))]
        return min(counts)

    def pixels(self, level: int, device: torch.device) -> Tensor | None:
        """Return where a level's pixels are of an image, (B, 1, h, w) bool; None if they all are."""
        shape = self.shapes[level]
        if all(size == shape for size in self.own[level]):
            return None
        row, column = torch.arange(shape[0], device=device)[:, None], torch.arange(shape[1], device=device)
        return torch.stack([(row < rows) & (column < columns) for rows, columns in self.own[level]])[:, None]

    def mask(self, device: torch.device) -> Tensor | None:
        """Return which tokens are of an image, (B, all tokens) bool; None if they all are."""
        if not self.padded:
            return None
        batch = len(self.images)
        parts = []
        for level, (height, width) in enumerate(self.shapes):
            pixels = self.pixels(level, device)
            every = torch.ones(batch, height * width, dtype=torch.bool, device=device)
            parts.append(every if pixels is None else pixels.flatten(1))
        return torch.cat(parts, dim=1)

    def shares(self, device: torch.device) -> Tensor:
        """Return how much of each level's (width, height) is an image's own, (B, levels, 2)."""
        own = torch.tensor(self.own, dtype=torch.float32, device=device).transpose(0, 1)
        return (own / torch.tensor(self.shapes, dtype=torch.float32, device=device)).flip(-1)

    def centres(self, device: torch.device) -> Tensor:
        """Return the tokens' centres (x, y) as shares of their image's canvas, (B or 1, all tokens, 2).

        Beyond 1 they are those of padding.
        """
        batches = [level if self.padded else level[:1] for level in self.own]
        parts = []
        for (height, width), own in zip(self.shapes, batches, strict=True):
            sides = torch.tensor(own, dtype=torch.float32, device=device)[:, None]
            rows = (torch.arange(height, device=device) + 0.5) / sides[..., 0]
            columns = (torch.arange(width, device=device) + 0.5) / sides[..., 1]
            shape = len(own), height, width
            centre = torch.stack([columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)], dim=-1)
            parts.append(centre.flatten(1, 2))
        return torch.cat(parts, dim=1)

    def canvas(self, device: torch.device) -> Tensor:
        """Return each image's canvas as (width, height, width, height) in pixels, (B, 4)."""
        return torch.tensor(self.images, dtype=torch.float32, device=device).flip(-1).repeat(1, 2)


def _coarser(size: Size, stride: int) -> Size:
    return math.ceil(size[0] / stride), math.ceil(size[1] / stride)


def sine_embedding(places: Tensor, width: int) -> Tensor:
    """Return the sines and cosines of places (..., K) in [0, 1], `width` numbers for each: (..., K * width).

    Sine and cosine alternate, of frequencies that fall from 2 pi to 2 pi / 10000 (Deformable DETR's code and appendix
    A.4; DETR, Carion et al., 2020, appendix A.4).
    """
    exponents = torch.arange(width // 2, device=places.device, dtype=torch.float32) * (2 / width)
    angles = places.float()[..., None] * (2 * math.pi) / TEMPERATURE**exponents
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-3)


class CanvasNorm(nn.GroupNorm):
    """A group norm over each image's own part of maps; beyond it is zero."""

    def forward(self, maps: Tensor, pixels: Tensor | None = None) -> Tensor:
        """Normalise maps (B, C, h, w); `pixels` (B, 1, h, w) are true where a map is the image's own."""
        if pixels is None:
            return super().forward(maps)
        groups = maps.float().reshape(len(maps), self.num_groups, -1, *maps.shape[-2:])
        inside = pixels[:, None].float()
        count = inside.sum((2, 3, 4), keepdim=True) * groups.shape[2]
        mean = (groups * inside).sum((2, 3, 4), keepdim=True) / count
        centred = (groups - mean) * inside
        variance = centred.square().sum((2, 3, 4), keepdim=True) / count
        normed = (centred * (variance + self.eps).rsqrt()).flatten(1, 2)
        scaled = normed * self.weight[:, None, None] + self.bias[:, None, None]
        return torch.where(pixels, scaled, 0.0)
