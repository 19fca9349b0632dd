"""The head of FPN, the semantic branch of Panoptic FPN."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from torch import nn

from coatseg.errors import ConfigError
from coatseg.models.heads.semantic.base import SemanticHead, group_count, smp_channels
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


@register("head", "fpn")
def fpn(
    levels: Sequence[Level],
    classes: int,
    *,
    pyramid_width: PositiveInt = 256,
    width: PositiveInt = 128,
    dropout: Rate = 0.2,
) -> SemanticHead:
    """Build Panoptic FPN's semantic branch (Kirillov et al., 2019), logits at stride 4.

    Its norms have 32 groups, but 4 at width 32: a group of one channel would lose all that a map of one pixel has.

    Raises:
        ConfigError: `width` is no multiple of 32.
    """
    if width % 32:
        raise ConfigError(f"head.width={width} is no multiple of 32.", "FPN's norms have 32 groups.")
    decoder = FPNDecoder(
        smp_channels(levels, "fpn"), pyramid_channels=pyramid_width, segmentation_channels=width, dropout=0.0
    )
    for part in decoder.modules():
        if isinstance(part, nn.GroupNorm) and part.num_groups == part.num_channels:
            part.num_groups = group_count(width)
    return SemanticHead(decoder, decoder.out_channels, classes, dropout=dropout)
