"""The pixel decoder and the masked-attention decoder of Mask2Former, of transformers' modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)

from coatseg.models.heads.detection.base import in_float32
from coatseg.models.heads.query.masks.head import MaskDecoder
from coatseg.models.heads.query.masks.losses import Predictions
from coatseg.models.heads.query.masks.pixel_decoder import PixelDecoder, positions_of


class _Initialised(Mask2FormerPreTrainedModel):  # type: ignore[misc]
    """The modules as transformers initialises them."""

    def __init__(self, config: Mask2FormerConfig, channels: Sequence[int]) -> None:
        super().__init__(config)
        self.pixels = PixelDecoder(config, channels)
        self.queries = Mask2FormerTransformerModule(config.feature_size, config)
        self.classes = nn.Linear(config.hidden_dim, config.num_labels + 1)
        self.post_init()


class Mask2FormerDecoder(MaskDecoder):
    """Mask2Former (Cheng et al., 2022) on the levels of strides 4, 8, 16 and 32.

    Attention masks are those of the paper. Masks of all queries are never computed at stride 4 in training: the
    attention masks are products of the embeddings with pixels that are resized first, which gives the same numbers.
    """

    strides = (4, 8, 16, 32)

    def __init__(self, channels: Sequence[int], config: Mask2FormerConfig) -> None:
        super().__init__()
        made = _Initialised(config, channels)
        self.pixels, self.queries, self.classes = made.pixels, made.queries, in_float32(made.classes)
        in_float32(self.queries.decoder.mask_predictor.mask_embedder)

    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the pixels that masks are made of, at stride 4, and the maps that queries look at."""
        pixels, levels = self.pixels(pyramid)
        return [pixels, *reversed(levels)]

    def forward(self, pyramid: Sequence[Tensor], every_layer: bool) -> Predictions:
        """Return the predictions of the first queries and of every layer, or of the last layer."""
        pixels, levels = self.pixels(pyramid)
        decoder = self.queries.decoder
        states = self.queries.queries_features.weight.expand(pixels.shape[0], -1, -1)
        memories, places = self._memories(levels)
        small = [functional.interpolate(pixels.detach(), level.shape[-2:], mode="bilinear") for level in levels]
        normed = [decoder.layernorm(states)]
        for number, layer in enumerate(decoder.layers):
            which = number % len(levels)
            visible = self._visible(normed[-1], small[which])
            states = self._layer(layer, states, memories[which], places[which], visible)
            normed.append(decoder.layernorm(states))
        shown = torch.stack(normed if every_layer else normed[-1:])
        return Predictions(self.classes(shown), decoder.mask_predictor.mask_embedder(shown), pixels)

    def _memories(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return what queries look at in each level (B, h * w, C), and its positions (1, h * w, C)."""
        memories, places = [], []
        for level, project, embedding in zip(
            levels, self.queries.input_projections, self.queries.level_embed.weight, strict=True
        ):
            memories.append(project(level).flatten(2).transpose(1, 2) + embedding)
            places.append(positions_of(level))
        return memories, places

    @torch.no_grad()
    def _visible(self, normed: Tensor, pixels: Tensor) -> Tensor:
        """Return where queries may look (B, 1, Q, h * w) bool: within their masks, or everywhere if these are empty."""
        embeddings = self.queries.decoder.mask_predictor.mask_embedder(normed)
        inside: Tensor = embeddings @ pixels.flatten(2).to(embeddings) >= 0
        return (inside | ~inside.any(-1, keepdim=True))[:, None]

    def _layer(self, layer: Any, states: Tensor, memory: Tensor, places: Tensor, visible: Tensor) -> Tensor:
        """Return the states (B, Q, C) after a layer: attention to a level, among the queries, and a perceptron."""
        queries = self.queries.queries_embedder.weight
        crossing, among = layer.cross_attn, layer.self_attn
        q, k, v = crossing.in_proj_weight.chunk(3)
        q_bias, k_bias, v_bias = crossing.in_proj_bias.chunk(3)
        seen = attend(
            functional.linear(states + queries, q, q_bias),
            functional.linear(memory + places, k, k_bias),
            functional.linear(memory, v, v_bias),
            crossing.num_heads,
            visible,
        )
        states = layer.cross_attn_layer_norm(states + crossing.out_proj(seen))
        placed = states + queries
        told = attend(among.q_proj(placed), among.k_proj(placed), among.v_proj(states), among.num_heads)
        states = layer.self_attn_layer_norm(states + among.out_proj(told))
        result: Tensor = layer.final_layer_norm(states + layer.fc2(layer.activation_fn(layer.fc1(states))))
        return result


def attend(queries: Tensor, keys: Tensor, values: Tensor, heads: int, visible: Tensor | None = None) -> Tensor:
    """Return the attention (B, Q, C) of several heads; `visible` (B, 1, Q, S) bool is where queries may look."""
    q, k, v = (tensor.view(*tensor.shape[:2], heads, -1).transpose(1, 2) for tensor in (queries, keys, values))
    seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=visible)
    return seen.transpose(1, 2).flatten(2)
