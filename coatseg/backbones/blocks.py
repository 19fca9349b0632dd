"""The blocks of CoaT (Xu et al., ICCV 2021, section 4): serial ones within a scale, parallel ones across scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from coatseg.backbones.attention import (
    MLP,
    Attention,
    PositionEncoding,
    RelativePositionEncoding,
    Tokens,
    attend,
    drop_path,
    normalize,
    resize,
)

CoScale = Literal["interpolation", "cross_attention", "none"]
CO_SCALES = (2, 3, 4)  # the scales that parallel blocks work on


class SerialBlock(nn.Module):
    """Conv-attention and MLP at one scale."""

    def __init__(self, channels: int, mlp_ratio: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.factoratt_crpe = Attention(channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = MLP(channels, channels * mlp_ratio)
        self.drop_path = drop_path

    def forward(self, tokens: Tokens, cpe: PositionEncoding | None, crpe: RelativePositionEncoding | None) -> Tokens:
        """Transform the tokens of one scale, with the encodings that its blocks share."""
        rate = self.drop_path if self.training else 0.0
        if cpe is not None:
            tokens = cpe(tokens)
        tokens = tokens + drop_path(self.factoratt_crpe(normalize(self.norm1, tokens), crpe), rate)
        return tokens + drop_path(self.mlp(normalize(self.norm2, tokens)), rate)


class ParallelBlock(nn.Module):
    """Conv-attention at scales 2 to 4 side by side, with an exchange between them, and one MLP for all.

    The exchange is one of section 4's two designs, or none:
    - "interpolation": each scale's attention output is resized to the others' sizes and added there. The authors'
      weights are of this design.
    - "cross_attention": the queries of a scale also attend to the keys and values of the other scales, resized to its
      own resolution, and the outputs are summed. The authors published no code for it. It is read here so that
      cross-attention is the whole conv-attention, with the CRPE of the queries' scale, as keys and values then have its
      resolution; class tokens are not resized; one output projection, that of the queries' scale, follows the sum.
    - "none": the scales stay apart, in the same blocks with the same parameters, so that only the exchange is ablated.
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
    ) -> list[Tokens]:
        """Transform the tokens of scales 2 to 4, with the encodings of each scale."""
        rate = self.drop_path if self.training else 0.0
        scales = [tokens if cpe is None else cpe(tokens) for tokens, cpe in zip(scales, cpes, strict=True)]
        attended = self._attention(self._normalized(1, scales), crpes)
        scales = [tokens + drop_path(branch, rate) for tokens, branch in zip(scales, attended, strict=True)]
        widened = map(self.mlp2, self._normalized(2, scales))
        return [tokens + drop_path(branch, rate) for tokens, branch in zip(scales, widened, strict=True)]

    def _normalized(self, place: int, scales: Sequence[Tokens]) -> list[Tokens]:
        norms = [getattr(self, f"norm{place}{scale}") for scale in CO_SCALES]
        return [normalize(norm, tokens) for norm, tokens in zip(norms, scales, strict=True)]

    def _attention(self, scales: list[Tokens], crpes: Sequence[RelativePositionEncoding | None]) -> list[Tokens]:
        attentions: list[Attention] = [getattr(self, f"factoratt_crpe{scale}") for scale in CO_SCALES]
        if self.co_scale == "cross_attention":
            return cross_attention(attentions, scales, crpes)
        attended = [attention(tokens, crpe) for attention, tokens, crpe in zip(attentions, scales, crpes, strict=True)]
        return interpolation(attended) if self.co_scale == "interpolation" else attended


def interpolation(scales: list[Tokens]) -> list[Tokens]:
    """Add to each scale all others, resized to it ("attention with feature interpolation", section 4)."""
    blended = []
    for own, tokens in enumerate(scales):
        for other, others in enumerate(scales):
            if other != own:
                tokens = tokens + resize(others, tokens)  # noqa: PLW2901
        blended.append(tokens)
    return blended


def cross_attention(
    attentions: list[Attention], scales: list[Tokens], crpes: Sequence[RelativePositionEncoding | None]
) -> list[Tokens]:
    """Let each scale's queries attend to all scales' keys and values ("direct cross-layer attention", section 4)."""
    projected = [attention.project(tokens) for attention, tokens in zip(attentions, scales, strict=True)]
    mixed = []
    for own, (attention, crpe) in enumerate(zip(attentions, crpes, strict=True)):
        queries, keys, values = projected[own]
        tokens = attend(queries, keys, values, crpe)
        for other, (_, keys, values) in enumerate(projected):
            if other != own:
                tokens = tokens + attend(queries, resize(keys, queries), resize(values, queries), crpe)
        mixed.append(attention.mix(tokens))
    return mixed
