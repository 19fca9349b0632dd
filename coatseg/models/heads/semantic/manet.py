"""The head of MA-Net."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.manet.decoder import MAnetDecoder

from coatseg.models.heads.semantic.base import HeadNorm, SemanticHead, check_widths, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


@register("head", "manet")
def manet(
    levels: Sequence[Level],
    classes: int,
    *,
    widths: tuple[PositiveInt, ...] = (256, 128, 64, 32, 16),
    attention_width: PositiveInt = 64,
    norm: HeadNorm = "group",
    dropout: Rate = 0.0,
) -> SemanticHead:
    """Build MA-Net (Fan et al., 2020): U-Net with attention over positions and over channels; logits at stride 1.

    `widths` are the channels of its five blocks, coarse to fine. `attention_width` is the number of channels in which
    all positions of the coarsest map are compared with each other, so memory grows with the fourth power of the image's
    side.
    """
    check_widths(widths, 5, "MA-Net")
    channels = smp_channels(levels, "manet")
    decoder = MAnetDecoder(channels, widths, n_blocks=len(widths), pab_channels=attention_width)
    return SemanticHead(with_norm(decoder, norm), widths[-1], classes, dropout=dropout)
