"""PAN, the pyramid attention network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from segmentation_models_pytorch.decoders.pan.decoder import PANDecoder
from torch import Tensor, nn
from torch.nn import functional

from coatseg.models.heads.semantic.base import Norm, SemanticHead, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level

LEAST_SIDE = 8
"""Steps that a side of the attended map needs, as it is halved three times."""


class AttentionAtStride16(nn.Module):
    """smp's decoder of PAN, which is handed the coarsest map at stride 16.

    The paper dilates its backbone so that attention works on a map of stride 16. CoaT is not dilated, so its map of
    stride 32 is enlarged twofold; where that gives a side under 8 steps, as for images under 128 pixels, to 8.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.decoder = PANDecoder(channels, encoder_depth=len(channels) - 1, decoder_channels=width)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Map the list of an smp encoder to a (B, width, h, w) map at stride 4."""
        *finer, coarsest = features
        size = [_at_least(2 * side, LEAST_SIDE) for side in coarsest.shape[-2:]]
        enlarged = functional.interpolate(coarsest, size, mode="bilinear", align_corners=False)
        decoded: Tensor = self.decoder([*finer, enlarged])
        return decoded


@register("head", "pan")
def pan(
    levels: Sequence[Level], classes: int, *, width: PositiveInt = 32, norm: Norm = "group", dropout: Rate = 0.0
) -> SemanticHead:
    """PAN (Li et al., 2018): a pyramid of attention on the coarsest level, which then weighs the finer ones.

    Logits at stride 4. `width` is that of all its maps, 32 in smp.
    """
    decoder = AttentionAtStride16(smp_channels(levels, "pan"), width)
    return SemanticHead(with_norm(decoder, norm), width, classes, dropout=dropout)


def _at_least(side: Any, least: int) -> Any:
    """Give the larger one; to a tracer sides are tensors or symbols, and `max` would settle which it is."""
    return side.clamp(min=least) if isinstance(side, Tensor) else torch.sym_max(side, least)
