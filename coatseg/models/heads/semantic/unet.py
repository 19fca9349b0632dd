"""The head of U-Net."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

from coatseg.models.heads.semantic.base import HeadNorm, SemanticHead, check_widths, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


@register("head", "unet")
def unet(
    levels: Sequence[Level],
    classes: int,
    *,
    widths: tuple[PositiveInt, ...] = (256, 128, 64, 32, 16),
    norm: HeadNorm = "group",
    dropout: Rate = 0.0,
) -> SemanticHead:
    """Build U-Net (Ronneberger et al., 2015), logits at stride 1.

    `widths` are the channels of its five blocks, coarse to fine.
    """
    check_widths(widths, 5, "U-Net")
    decoder = UnetDecoder(smp_channels(levels, "unet"), widths, n_blocks=len(widths))
    return SemanticHead(with_norm(decoder, norm), widths[-1], classes, dropout=dropout)
