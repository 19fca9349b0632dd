"""The head of FCN, the plain one, which also serves as an auxiliary head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from coatseg.models.heads.semantic.base import HeadNorm, SemanticHead, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


class Convolutions(nn.Sequential):
    """`depth` 3x3 convolutions, each with a norm and a ReLU, on the coarsest map of the list."""

    def __init__(self, channels: int, width: int, depth: int) -> None:
        layers: list[nn.Module] = []
        for before in (channels, *[width] * (depth - 1)):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        super().__init__(*layers)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the (B, width, h, w) map at the last stride of an smp encoder's list."""
        convolved = features[-1]
        for layer in self:
            convolved = layer(convolved)
        return convolved


@register("head", "fcn")
def fcn(
    levels: Sequence[Level],
    classes: int,
    *,
    stride: Literal[4, 8, 16, 32] = 16,
    width: PositiveInt = 256,
    depth: PositiveInt = 1,
    norm: HeadNorm = "group",
    dropout: Rate = 0.1,
) -> SemanticHead:
    """Build FCN (Long et al., 2015) as mmsegmentation does: `depth` 3x3 convolutions on the level of one `stride`.

    Logits are at that stride. The defaults are mmsegmentation's for an auxiliary head, on the last level but one.
    """
    decoder = Convolutions(smp_channels(levels, "fcn", coarsest=stride)[-1], width, depth)
    return SemanticHead(with_norm(decoder, norm), width, classes, coarsest=stride, dropout=dropout)
