"""The head of U-Net++."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder

from coatseg.models.heads.semantic.base import HeadNorm, SemanticHead, check_widths, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


@register("head", "unetplusplus")
def unetplusplus(
    levels: Sequence[Level],
    classes: int,
    *,
    widths: tuple[PositiveInt, ...] = (256, 128, 64, 32, 16),
    norm: HeadNorm = "group",
    dropout: Rate = 0.0,
) -> SemanticHead:
    """Build U-Net++ (Zhou et al., 2018): U-Net with nested blocks in its skip connections; logits at stride 1.

    `widths` are the channels of the five blocks on its outermost path, coarse to fine; nested blocks have those of the
    levels. As there is no map at stride 2, nothing is nested there.
    """
    check_widths(widths, 5, "U-Net++")
    decoder = UnetPlusPlusDecoder(smp_channels(levels, "unetplusplus"), widths, n_blocks=len(widths))
    return SemanticHead(with_norm(decoder, norm), widths[-1], classes, dropout=dropout)
