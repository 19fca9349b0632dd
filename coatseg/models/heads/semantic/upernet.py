"""The head of UPerNet."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder

from coatseg.models.heads.semantic.base import HeadNorm, SemanticHead, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


@register("head", "upernet")
def upernet(
    levels: Sequence[Level], classes: int, *, width: PositiveInt = 256, norm: HeadNorm = "group", dropout: Rate = 0.1
) -> SemanticHead:
    """Build UPerNet (Xiao et al., 2018): pyramid pooling on the coarsest level, an FPN, fusion; logits at stride 4."""
    decoder = UPerNetDecoder(smp_channels(levels, "upernet"), decoder_channels=width)
    return SemanticHead(with_norm(decoder, norm), width, classes, dropout=dropout)
