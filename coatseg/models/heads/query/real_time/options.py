"""The options of RT-DETR."""

from __future__ import annotations

from dataclasses import dataclass

from coatseg.models.heads.semantic.base import HeadNorm
from coatseg.registry.options import NonNegativeInt, OptionGroup, PositiveFloat, PositiveInt, Rate


@dataclass(frozen=True, kw_only=True)
class RTDETROptions(OptionGroup):
    """The options of RT-DETR; the defaults are the authors' for ResNet-50.

    `width` channels everywhere, `attention_heads` of attention, `feed_forward` channels inside its blocks; `expansion`
    is the share of `width` inside the encoder's convolutions, `layers` how many the decoder has. `queries` are the
    objects that an image can have at most, fewer in images of fewer positions. `denoising` queries a sign are made of
    the objects with noise in training; 0 makes none. `norm` "batch" is the authors'; "group" sees one image only. Of
    the pairs of query and class scored above `score_threshold`, `detections` are kept.
    """

    width: PositiveInt = 256
    attention_heads: PositiveInt = 8
    feed_forward: PositiveInt = 1024
    expansion: PositiveFloat = 1.0
    layers: PositiveInt = 6
    queries: PositiveInt = 300
    denoising: NonNegativeInt = 100
    norm: HeadNorm = "batch"
    score_threshold: Rate = 0.0
    detections: PositiveInt = 100
