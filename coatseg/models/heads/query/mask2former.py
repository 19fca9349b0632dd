"""The head of Mask2Former: masks found by queries that look within the masks they have found so far."""

from __future__ import annotations

from collections.abc import Sequence

from coatseg.models.heads.query.masks.found import FindingOptions
from coatseg.models.heads.query.masks.head import MaskHead
from coatseg.models.heads.query.masks.losses import CROSS_ENTROPY, LossOptions, MaskLosses
from coatseg.models.heads.query.masks.options import HEADS, check_width
from coatseg.models.heads.semantic.base import smp_channels
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt
from coatseg.structures import LOGITS, Level
from coatseg.system.extras import needs


@register("head", "mask2former")
def mask2former(
    levels: Sequence[Level],
    classes: int,
    things: Sequence[int] = (),
    output: str = LOGITS,
    *,
    queries: PositiveInt = 100,
    width: PositiveInt = 256,
    encoder_layers: PositiveInt = 6,
    decoder_layers: PositiveInt = 9,
    encoder_feed_forward: PositiveInt = 1024,
    decoder_feed_forward: PositiveInt = 2048,
    losses: LossOptions = LossOptions(),
    finding: FindingOptions = FindingOptions(),
) -> MaskHead:
    """Build Mask2Former (Cheng et al., 2022) of transformers' modules.

    `width` channels in the pixel decoder, which has `encoder_layers` layers of deformable attention, and in the
    `decoder_layers` layers of `queries` queries.

    Raises:
        ConfigError: transformers is not installed, the pyramid lacks a level, `width` is no multiple of 32, or an
            option of `finding` is given that the output has no use for.
    """
    needs("head=mask2former", "query", "transformers", "scipy")
    _, _, *channels = smp_channels(levels, "mask2former")
    check_width(width)
    finding.check(output)
    from transformers import Mask2FormerConfig

    from coatseg.models.heads.query.masks.mask2former import Mask2FormerDecoder

    config = Mask2FormerConfig(
        num_labels=classes,
        feature_size=width,
        mask_feature_size=width,
        hidden_dim=width,
        num_attention_heads=HEADS,
        num_queries=queries,
        encoder_layers=encoder_layers,
        decoder_layers=decoder_layers + 1,  # the library counts the prediction of the first queries as one
        encoder_feedforward_dim=encoder_feed_forward,
        dim_feedforward=decoder_feed_forward,
    )
    return MaskHead(
        Mask2FormerDecoder(channels, config),
        MaskLosses(classes, losses, CROSS_ENTROPY),
        finding,
        levels=len(channels),
        things=things,
        output=output,
    )
