"""The head of LinkNet."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.linknet.decoder import LinknetDecoder

from coatseg.models.heads.semantic.base import HeadNorm, SemanticHead, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


@register("head", "linknet")
def linknet(
    levels: Sequence[Level], classes: int, *, width: PositiveInt = 32, norm: HeadNorm = "group", dropout: Rate = 0.0
) -> SemanticHead:
    """Build LinkNet (Chaurasia and Culurciello, 2017): U-Net with sums instead of concatenations; logits at stride 1.

    Its blocks have the levels' channels, so `width` is that of the last block only.
    """
    decoder = LinknetDecoder(smp_channels(levels, "linknet"), prefinal_channels=width)
    return SemanticHead(with_norm(decoder, norm), width, classes, dropout=dropout)
