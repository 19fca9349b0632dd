"""RT-DETR keeps the contract of detectors; its losses are computed by hand, its network compared with transformers'."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.detector import Detector
from coatseg.models.heads.base import ObjectHead
from coatseg.models.heads.query.boxes import Pairs, Queries, Truth
from coatseg.models.heads.query.real_time.losses import layer_losses
from coatseg.models.heads.query.real_time.options import RTDETROptions
from coatseg.models.heads.query.rtdetr import RTDETR, rtdetr
from coatseg.structures import InstanceTarget, Level
from tests.contracts.detector import CLASSES, HARD, LEVELS, SIDE, SMALL, DetectorContract, objects

FEW = RTDETROptions(
    width=32, attention_heads=4, feed_forward=64, expansion=0.5, layers=2, queries=40, denoising=8, norm="group"
)


class TestRTDETR(DetectorContract):
    finest = 8
    steps = 200

    def make(self, levels: tuple[Level, ...], classes: int) -> RTDETR:
        return rtdetr(levels, classes, FEW)

    def set_threshold(self, head: ObjectHead, score: float) -> None:
        assert isinstance(head, RTDETR)
        head.score_threshold = score


def detector() -> Detector:
    torch.manual_seed(0)
    backbone = CoaT(SMALL)
    return Detector(backbone, rtdetr(backbone.levels, CLASSES, FEW)).train()
