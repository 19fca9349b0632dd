"""The blocks of CoaT (Xu et al., ICCV 2021, section 4): serial ones within a scale, parallel ones across scales."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from torch import nn

from coatseg.models.backbones.attention import (
    MLP,
    Attention,
    PositionEncoding,
    RelativePositionEncoding,
    add,
    attend,
    drop_path,
    resize,
)
from coatseg.models.backbones.tokens import Tokens

CoScale = Literal["interpolation", "cross_attention", "none"]
CO_SCALES = (2, 3, 4)  # the scales that parallel blocks work on


class SerialBlock(nn.Module):
    """A block of CoaT at one scale: conv-attention, then an MLP."""

    def __init__(self, channels: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.factoratt_crpe = Attention(channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = MLP(channels, channels * mlp_ratio)
        self.drop_path = drop_path

    def forward(self, tokens: Tokens, cpe: PositionEncoding | None, crpe: RelativePositionEncoding | None) -> Tokens:
        """Transform the tokens of one scale, with the position encodings that its blocks share."""
        rate = self.drop_path if self.training else 0.0
        if cpe is not None:
            tokens = cpe(tokens)
        attended = self.factoratt_crpe(self.norm1, tokens, crpe)
        tokens = self.factoratt_crpe.add_mixed(tokens, attended, drop_path(tokens, rate))
        added: Tokens = self.mlp(self.norm2, tokens, drop_path(tokens, rate))
        return added


class ParallelBlock(nn.Module):
    """A block of CoaT across scales 2 to 4: conv-attention in each, an exchange between them, and one MLP for all.

    The exchange is one of the two designs of section 4, or none:
    - "interpolation": each scale's attention output is resized to the others' sizes and added there. The authors'
      weights are of this design.
    - "cross_attention": the queries of a scale also attend to the keys and values of the other scales, resized to its
      own resolution, and the outputs are summed. The authors published no code for it. Here the paper is read to mean
      that cross-attention is the whole conv-attention, with the CRPE of the queries' scale, as keys and values then
      have its resolution; that class tokens are not resized; and that one output projection, that of the queries'
      scale, follows the sum.
    - "none": nothing is exchanged, in the same blocks with the same parameters, so that only the exchange is ablated.
    """

    def __init__(self, channels: int, mlp_ratio: int, drop_path: float, co_scale: CoScale) -> None:
        super().__init__()
        for scale in CO_SCALES:
            self.add_module(f"norm1{scale}", nn.LayerNorm(channels, eps=1e-6))
        for scale in CO_SCALES:
            self.add_module(f"factoratt_crpe{scale}", Attention(channels))
        for scale in CO_SCALES:
            self.add_module(f"norm2{scale}", nn.LayerNorm(channels, eps=1e-6))
        self.mlp2 = MLP(channels, channels * mlp_ratio)
        self.drop_path = drop_path
        self.co_scale = co_scale

    def forward(
        self,
        scales: Sequence[Tokens],
        cpes: Sequence[PositionEncoding | None],
        crpes: Sequence[RelativePositionEncoding | None],
        wanted: Collection[int] = CO_SCALES,
    ) -> list[Tokens]:
        """Transform the tokens of scales 2 to 4 with the encodings of each; scales not `wanted` skip the MLP."""
        rate = self.drop_path if self.training else 0.0
        scales = [tokens if cpe is None else cpe(tokens) for tokens, cpe in zip(scales, cpes, strict=True)]
        attended = self._attention(scales, crpes)
        scales = [
            add(tokens, branch.rows, drop_path(tokens, rate)) for tokens, branch in zip(scales, attended, strict=True)
        ]
        return [
            self.mlp2(norm, tokens, drop_path(tokens, rate)) if scale in wanted else tokens
            for scale, norm, tokens in zip(CO_SCALES, self._norms(2), scales, strict=True)
        ]

    def _norms(self, place: int) -> list[nn.LayerNorm]:
        return [getattr(self, f"norm{place}{scale}") for scale in CO_SCALES]

    def _attention(self, scales: Sequence[Tokens], crpes: Sequence[RelativePositionEncoding | None]) -> list[Tokens]:
        attentions: list[Attention] = [getattr(self, f"factoratt_crpe{scale}") for scale in CO_SCALES]
        if self.co_scale == "cross_attention":
            return cross_attention(attentions, self._norms(1), scales, crpes)
        mixed = [
            attention.mix(attention(norm, tokens, crpe))
            for attention, norm, tokens, crpe in zip(attentions, self._norms(1), scales, crpes, strict=True)
        ]
        return interpolation(mixed) if self.co_scale == "interpolation" else mixed


def interpolation(scales: list[Tokens]) -> list[Tokens]:
    """Add to each scale all others, resized to its size ("attention with feature interpolation", section 4)."""
    parts = [tokens.split() for tokens in scales]
    blended = []
    for own, (tokens, (image, cls)) in enumerate(zip(scales, parts, strict=True)):
        for other, (_, others_cls) in enumerate(parts):
            if other != own:
                image, cls = image + resize(scales[other], tokens), cls + others_cls  # noqa: PLW2901
        blended.append(Tokens.join(image, cls, tokens.valid))
    return blended


def cross_attention(
    attentions: list[Attention],
    norms: list[nn.LayerNorm],
    scales: Sequence[Tokens],
    crpes: Sequence[RelativePositionEncoding | None],
) -> list[Tokens]:
    """Let each scale's queries attend to all scales' keys and values ("direct cross-layer attention", section 4)."""
    projected = [
        attention.project(norm, tokens) for attention, norm, tokens in zip(attentions, norms, scales, strict=True)
    ]
    mixed = []
    for own, (attention, crpe) in enumerate(zip(attentions, crpes, strict=True)):
        queries, keys, values = projected[own]
        rows = attend(queries, keys, values, crpe).rows
        for other, (_, keys, values) in enumerate(projected):
            if other != own:
                rows = rows + attend(queries, resized(keys, queries), resized(values, queries), crpe).rows
        mixed.append(attention.mix(queries._replace(rows=rows)))
    return mixed


def resized(tokens: Tokens, like: Tokens) -> Tokens:
    """Resize image tokens to another scale's size; class tokens are left unchanged."""
    return Tokens.join(resize(tokens, like), tokens.cls, like.valid)
