"""The options of RT-DETR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coatseg.models.heads.semantic.base import HeadNorm
from coatseg.registry.options import NonNegativeInt, OptionGroup, PositiveFloat, PositiveInt, Rate


@dataclass(frozen=True, kw_only=True)
class RTDETROptions(OptionGroup):
    """The options of RT-DETR; the defaults are the authors' for ResNet-50.

    `finest` is the stride of the finest level that it looks at; small objects want 4, which costs four times as many
    tokens. There are `width` channels everywhere, `heads` of attention and `feedforward` channels inside its blocks;
    `expansion` is the share of `width` inside the encoder's convolutions. Each of `queries` finds at most one object;
    small images have fewer. In training, `denoising` queries are made of the objects with little noise and as many with
    much; 0 makes none. `norm` "batch" is the authors'; "group" sees one image only. Of all queries and classes the
    best `detections` are kept, those scored above `score_threshold`.
    """

    finest: Literal[4, 8, 16, 32] = 8
    width: PositiveInt = 256
    heads: PositiveInt = 8
    feedforward: PositiveInt = 1024
    expansion: PositiveFloat = 1.0
    decoder_layers: PositiveInt = 6
    queries: PositiveInt = 300
    denoising: NonNegativeInt = 100
    norm: HeadNorm = "batch"
    detections: PositiveInt = 100
    score_threshold: Rate = 0.0
