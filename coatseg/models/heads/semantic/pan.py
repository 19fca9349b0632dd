"""The head of PAN, the pyramid attention network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from segmentation_models_pytorch.decoders.pan.decoder import PANDecoder
from torch import Tensor, nn
from torch.nn import functional

from coatseg.models.heads.semantic.base import HeadNorm, SemanticHead, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level

LEAST_SIDE = 8
"""The least side, in positions, of the map that attention works on, as it is halved three times."""


class AttentionAtStride16(nn.Module):
    """smp's decoder of PAN, given the coarsest map at stride 16.

    The paper dilates its backbone so that attention works on a map of stride 16. CoaT is not dilated, so its map of
    stride 32 is enlarged twofold, or to a side of 8 where that would be less, as for images under 128 pixels.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.decoder = PANDecoder(channels, encoder_depth=len(channels) - 1, decoder_channels=width)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the (B, width, h, w) map at stride 4 for the list of an smp encoder."""
        *finer, coarsest = features
        size = [_at_least(2 * side, LEAST_SIDE) for side in coarsest.shape[-2:]]
        enlarged = functional.interpolate(coarsest, size, mode="bilinear", align_corners=False)
        decoded: Tensor = self.decoder([*finer, enlarged])
        return decoded


@register("head", "pan")
def pan(
    levels: Sequence[Level], classes: int, *, width: PositiveInt = 32, norm: HeadNorm = "group", dropout: Rate = 0.0
) -> SemanticHead:
    """Build PAN (Li et al., 2018): pyramid attention on the coarsest level, which then weighs the finer ones.

    Logits are at stride 4. `width` is the number of channels of all its maps, 32 in smp.
    """
    decoder = AttentionAtStride16(smp_channels(levels, "pan"), width)
    return SemanticHead(with_norm(decoder, norm), width, classes, dropout=dropout)


def _at_least(side: Any, least: int) -> Any:
    """Return the larger of two sides; in a trace they are tensors or symbols, and `max` would fix which one it is."""
    return side.clamp(min=least) if isinstance(side, Tensor) else torch.sym_max(side, least)
