"""The tokens of one scale: the rows of one matrix, viewed as a sequence or as a map without a copy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from coatseg.models.backbones.padding_mask import Valid


class Shape(NamedTuple):
    """The number of images, and the rows and columns of tokens in each."""

    batch: int
    height: int
    width: int

    @property
    def parts(self) -> list[int]:
        """The number of image tokens and the number of class tokens in the batch."""
        return [self.batch * self.height * self.width, self.batch]


class Tokens(NamedTuple):
    """The tokens of one scale: `rows` (B * H * W + B, C), first the image tokens, then one class token per image.

    Layers that treat each token by itself work on `rows`. The image tokens viewed as (B, H, W, C) are the channels-last
    map that convolutions want. `valid` is the part of the image tokens that is not padding; None if there is none. The
    values of padding tokens are undefined: layers that combine tokens take them from `within`.
    """

    rows: Tensor
    shape: Shape
    valid: Valid | None = None

    @classmethod
    def join(cls, image: Tensor, class_tokens: Tensor, valid: Valid | None = None) -> Tokens:
        """Make tokens, in the map's precision, of a channels-last map (B, C, H, W) and class tokens (B, 1, C)."""
        batch, _, height, width = image.shape
        rows = torch.cat([image.permute(0, 2, 3, 1).flatten(0, 2), class_tokens.flatten(0, 1).to(image.dtype)])
        return cls(rows, Shape(batch, height, width), valid)

    def split(self) -> tuple[Tensor, Tensor]:
        """Return views of the tokens as a channels-last map (B, C, H, W) and as class tokens (B, 1, C)."""
        if torch.compiler.is_compiling():  # which cannot yet split inside of what is checkpointed
            count = self.shape.parts[0]
            image, class_tokens = self.rows[:count], self.rows[count:]
        else:  # in one operation, whose gradient is one too
            image, class_tokens = torch.split(self.rows, self.shape.parts)
        return image.view(*self.shape, image.shape[1]).permute(0, 3, 1, 2), class_tokens[:, None]

    @property
    def image(self) -> Tensor:
        """The image tokens as a channels-last map (B, C, H, W), which may be changed in place."""
        return self.rows[: self.shape.parts[0]].view(*self.shape, self.rows.shape[1]).permute(0, 3, 1, 2)

    @property
    def cls(self) -> Tensor:
        """The class tokens (B, 1, C)."""
        return self.split()[1]

    def within(self, beyond: float = 0.0) -> Tensor:
        """Return the image tokens as a map, with a constant in place of the padding."""
        return self.image if self.valid is None else self.valid.keep(self.image, beyond)


def pixels(image: Tensor) -> Tensor:
    """View a channels-last (B, C, H, W) map as (B, H * W, C) tokens."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)


def as_map(tokens: Tensor, like: Tensor) -> Tensor:
    """View (B, H * W, C) tokens as a channels-last (B, C, H, W) map of the size of another."""
    batch, _, height, width = like.shape
    return tokens.view(batch, height, width, tokens.shape[2]).permute(0, 3, 1, 2)
