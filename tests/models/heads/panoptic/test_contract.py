"""Panoptic-DeepLab keeps the contract of heads that give segments, with one decoder and with two."""

from coatseg.models.heads.panoptic.deeplab import PanopticDeepLab
from coatseg.models.heads.panoptic.losses import Learning
from coatseg.structures import Level
from tests.contracts.segmenter import SegmenterContract


class TestOneDecoder(SegmenterContract):
    steps = 120

    def make(self, levels: tuple[Level, ...], classes: int, things: tuple[int, ...]) -> PanopticDeepLab:
        options = {"pyramid_width": 16, "width": 32}
        return PanopticDeepLab(
            levels,
            classes,
            things,
            decoder="fpn",
            decoder_options=options,
            width=16,
            learning=Learning(sigma=3, small=8),
        )


class TestTwoDecoders(SegmenterContract):
    def make(self, levels: tuple[Level, ...], classes: int, things: tuple[int, ...]) -> PanopticDeepLab:
        return PanopticDeepLab(
            levels,
            classes,
            things,
            decoder="segformer",
            decoder_options={"width": 16},
            instance_decoder="unet",
            instance_decoder_options={"widths": [16, 16, 16, 16, 16]},
            width=16,
            learning=Learning(sigma=3, small=8),
        )
