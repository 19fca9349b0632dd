"""The head of PSPNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder

from coatseg.errors import ConfigError
from coatseg.models.heads.semantic.base import HeadNorm, SemanticHead, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


@register("head", "pspnet")
def pspnet(
    levels: Sequence[Level],
    classes: int,
    *,
    stride: Literal[8, 16, 32] = 16,
    width: PositiveInt = 512,
    norm: HeadNorm = "group",
    dropout: Rate = 0.1,
) -> SemanticHead:
    """Build PSPNet (Zhao et al., 2017): pyramid pooling on one level, logits at its `stride`.

    The paper dilates its backbone to have the deepest features at stride 8. CoaT is not dilated: at stride 8,
    CoaT-Lite's features have passed only two of its stages, and at stride 32 a thin object is less than one position
    wide. The default, 16, is a compromise.

    Raises:
        ConfigError: the level's channels are no multiple of 4.
    """
    channels = smp_channels(levels, "pspnet", coarsest=stride)
    if channels[-1] % 4:
        raise ConfigError(
            f"head=pspnet splits channels into four; this backbone has {channels[-1]} at stride {stride}.",
            "Set another head.stride, or choose another head.",
        )
    decoder = PSPDecoder(channels, out_channels=width, dropout=0.0)
    return SemanticHead(with_norm(decoder, norm), width, classes, coarsest=stride, dropout=dropout)
