"""The head of SegFormer."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder

from coatseg.models.heads.semantic.base import HeadNorm, SemanticHead, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


@register("head", "segformer")
def segformer(
    levels: Sequence[Level], classes: int, *, width: PositiveInt = 256, norm: HeadNorm = "group", dropout: Rate = 0.1
) -> SemanticHead:
    """Build SegFormer's head (Xie et al., 2021): a linear layer for each level, and one for all; logits at stride 4.

    `width` is 256 in its variants B0 and B1, 768 in the larger ones.
    """
    decoder = SegformerDecoder(smp_channels(levels, "segformer"), segmentation_channels=width)
    return SemanticHead(with_norm(decoder, norm), width, classes, dropout=dropout)
