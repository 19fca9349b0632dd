"""The heads of DeepLabV3 and DeepLabV3+."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3Decoder, DeepLabV3PlusDecoder

from coatseg.models.heads.semantic.base import HeadNorm, Rates, SemanticHead, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level

COARSEST = 16


@register("head", "deeplabv3")
def deeplabv3(
    levels: Sequence[Level],
    classes: int,
    *,
    width: PositiveInt = 256,
    rates: Rates = (6, 12, 18),
    norm: HeadNorm = "group",
    dropout: Rate = 0.1,
) -> SemanticHead:
    """Build DeepLabV3 (Chen et al., 2017): atrous spatial pyramid pooling on the level of stride 16, logits there too.

    CoaT is not dilated, so the level of stride 32 is left out. `rates` are the dilations of the pooling, by default the
    paper's for output stride 16 (section 3.3).
    """
    decoder = DeepLabV3Decoder(
        smp_channels(levels, "deeplabv3", coarsest=COARSEST)[-1],
        width,
        atrous_rates=rates,
        aspp_separable=False,
        aspp_dropout=0.0,
    )
    return SemanticHead(with_norm(decoder, norm), width, classes, coarsest=COARSEST, dropout=dropout)


@register("head", "deeplabv3plus")
def deeplabv3plus(
    levels: Sequence[Level],
    classes: int,
    *,
    width: PositiveInt = 256,
    rates: Rates = (6, 12, 18),
    norm: HeadNorm = "group",
    dropout: Rate = 0.1,
) -> SemanticHead:
    """Build DeepLabV3+ (Chen et al., 2018): DeepLabV3 with separable convolutions, refined by the level of stride 4.

    Logits at stride 4. CoaT is not dilated, so the level of stride 32 is left out. `rates` are the dilations of the
    pooling, by default the paper's for output stride 16.
    """
    channels = smp_channels(levels, "deeplabv3plus", coarsest=COARSEST)
    decoder = DeepLabV3PlusDecoder(
        channels,
        encoder_depth=len(channels) - 1,
        out_channels=width,
        atrous_rates=rates,
        output_stride=COARSEST,
        aspp_separable=True,
        aspp_dropout=0.0,
    )
    return SemanticHead(with_norm(decoder, norm), width, classes, coarsest=COARSEST, dropout=dropout)
