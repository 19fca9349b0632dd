"""The head of MaskFormer: masks found by queries that look at the coarsest map, at a fraction of Mask2Former's cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from coatseg.models.heads.query.masks.found import FindingOptions
from coatseg.models.heads.query.masks.head import MaskHead
from coatseg.models.heads.query.masks.losses import FOCAL, LossOptions, MaskLosses
from coatseg.models.heads.query.masks.options import HEADS, check_width
from coatseg.models.heads.semantic.base import smp_channels
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeFloat, PositiveInt, Rate, Share
from coatseg.structures import LOGITS, Level
from coatseg.system.extras import needs


@dataclass(frozen=True, kw_only=True)
class MaskFormerLosses(LossOptions):
    """Those of MaskFormer (Cheng et al., 2021, section 4.1): other weights, and points drawn evenly."""

    class_weight: NonNegativeFloat = 1.0
    mask_weight: NonNegativeFloat = 20.0
    dice_weight: NonNegativeFloat = 1.0
    importance: Share = 0.0


@register("head", "maskformer")
def maskformer(
    levels: Sequence[Level],
    classes: int,
    things: Sequence[int] = (),
    output: str = LOGITS,
    *,
    queries: PositiveInt = 100,
    width: PositiveInt = 256,
    decoder_layers: PositiveInt = 6,
    feed_forward: PositiveInt = 2048,
    dropout: Rate = 0.1,
    losses: MaskFormerLosses = MaskFormerLosses(),
    finding: FindingOptions = FindingOptions(),
) -> MaskHead:
    """Build MaskFormer (Cheng et al., 2021) of transformers' modules, with losses at every layer as its authors have.

    `width` channels in the feature pyramid and in the `decoder_layers` layers of `queries` queries.

    Raises:
        ConfigError: transformers is not installed, the pyramid lacks a level, `width` is no multiple of 32, or an
            option of `finding` is given that the output has no use for.
    """
    needs("head=maskformer", "query", "transformers", "scipy")
    _, _, *channels = smp_channels(levels, "maskformer")
    check_width(width)
    finding.check(output)
    from transformers import MaskFormerConfig
    from transformers.models.maskformer.configuration_maskformer import MaskFormerDetrConfig

    from coatseg.models.heads.query.masks.maskformer import MaskFormerDecoder

    of_queries = MaskFormerDetrConfig(
        d_model=width,
        num_queries=queries,
        decoder_layers=decoder_layers,
        decoder_ffn_dim=feed_forward,
        decoder_attention_heads=HEADS,
        dropout=dropout,
    )
    config = MaskFormerConfig(
        num_labels=classes, fpn_feature_size=width, mask_feature_size=width, decoder_config=of_queries
    )
    return MaskHead(
        MaskFormerDecoder(channels, config),
        MaskLosses(classes, losses, FOCAL),
        finding,
        levels=len(channels),
        things=things,
        output=output,
    )
