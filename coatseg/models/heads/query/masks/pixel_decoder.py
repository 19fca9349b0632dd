"""Mask2Former's pixel decoder: levels that look at each other by deformable attention, and pixels at stride 4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    multi_scale_deformable_attention,
)

from coatseg.models.heads.detection.base import in_float32
from coatseg.models.heads.query.canvases import sine_embedding
from coatseg.models.heads.query.sampling import sample
from coatseg.models.heads.semantic.base import group_count
from coatseg.structures import Size


class Decoded(NamedTuple):
    """Pixels (B, C, h, w) at stride 4, that masks are made of, and the levels of the strides 32, 16 and 8."""

    pixels: Tensor
    levels: list[Tensor]


class PixelDecoder(Mask2FormerPixelDecoder):  # type: ignore[misc]
    """transformers' modules, without what the library computes for padding that it never has, and on a CPU faster."""

    def __init__(self, config: Mask2FormerConfig, channels: Sequence[int]) -> None:
        super().__init__(config, list(channels))
        for norm in self.modules():
            if isinstance(norm, nn.GroupNorm):
                norm.num_groups = group_count(norm.num_channels)
        in_float32(self.mask_projection)

    def forward(self, pyramid: Sequence[Tensor]) -> Decoded:
        """Decode the maps of the strides 4, 8, 16 and 32."""
        finest, *others = pyramid
        maps = [project(level) for project, level in zip(self.input_projections, reversed(others), strict=True)]
        shapes = [(level.shape[-2], level.shape[-1]) for level in maps]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
        places = torch.cat([self._places(level, number) for number, level in enumerate(maps)], dim=1)
        centres = torch.cat([centres_of(shape, tokens.device) for shape in shapes])
        for layer in self.encoder.layers:
            tokens = self._layer(layer, tokens, places, centres, shapes)
        parts = torch.split(tokens, [height * width for height, width in shapes], dim=1)
        levels = [part.transpose(1, 2).view(*level.shape) for part, level in zip(parts, maps, strict=True)]
        lateral = self.adapter_1(finest)
        below = functional.interpolate(levels[-1], lateral.shape[-2:], mode="bilinear", align_corners=False)
        return Decoded(self.mask_projection(self.layer_1(lateral + below)), levels)

    def _places(self, level: Tensor, number: int) -> Tensor:
        """Return what tells the tokens of a level (1, h * w, C) apart, and the level from the others."""
        places: Tensor = positions_of(level) + self.level_embed[number]
        return places

    def _layer(self, layer: Any, tokens: Tensor, places: Tensor, centres: Tensor, shapes: Sequence[Size]) -> Tensor:
        """Return the tokens (B, all pixels, C) after a layer of deformable attention and a perceptron."""
        attention = layer.self_attn
        asked = tokens + places
        grid = (*tokens.shape[:2], attention.n_heads, attention.n_levels, attention.n_points)
        offsets = attention.sampling_offsets(asked).view(*grid, 2).float() * steps_of(shapes, tokens.device)[:, None]
        weights = attention.attention_weights(asked).view(*grid[:3], -1).float().softmax(-1).view(grid)
        value = attention.value_proj(tokens).view(*grid[:3], -1)
        seen = sums_at(value, shapes, centres[:, None, None, None] + offsets, weights)
        tokens = layer.self_attn_layer_norm(tokens + attention.output_proj(seen))
        result: Tensor = layer.final_layer_norm(tokens + layer.fc2(layer.activation_fn(layer.fc1(tokens))))
        return result


def sums_at(value: Tensor, shapes: Sequence[Size], places: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums of values at places, as `sample` does, by the library where that is as fast.

    In graphs that are compiled or exported it is the library's, too.
    """
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if value.device.type == "cpu" and not (tracing or torch.compiler.is_compiling()):
        return sample(value, shapes, places, weights)
    sums: Tensor = multi_scale_deformable_attention(value.float(), list(shapes), places, weights)
    return sums.to(value.dtype)


def centres_of(shape: Size, device: torch.device) -> Tensor:
    """Return the centres (h * w, 2) of a map's positions, x and y from 0 to 1."""
    height, width = shape
    y, x = (torch.arange(length, dtype=torch.float32, device=device) + 0.5 for length in shape)
    down, across = torch.meshgrid(y / height, x / width, indexing="ij")
    return torch.stack([across, down], dim=-1).flatten(0, 1)


def steps_of(shapes: Sequence[Size], device: torch.device) -> Tensor:
    """Return how far apart the positions of maps are, across and down, in shares of the image: (L, 2)."""
    one = torch.ones((), device=device)  # a quotient of which a traced graph computes anew for every size
    return torch.stack([torch.stack([one / width, one / height]) for height, width in shapes])


def positions_of(level: Tensor) -> Tensor:
    """Return the embedding (1, h * w, C) of the positions of a map (B, C, h, w), down and across.

    That of DETR's code, in which the first of n positions is 1 / n and the last 1. The library's own keeps the last one
    that it has made, which would be a constant of an exported graph.
    """
    (rows, columns), channels = level.shape[-2:], level.shape[1]
    down, across = (torch.arange(length, device=level.device) + 1 for length in (rows, columns))
    grid = torch.meshgrid(down / rows, across / columns, indexing="ij")
    return sine_embedding(torch.stack(grid, dim=-1).flatten(0, 1), channels // 2)[None].to(level.dtype)
