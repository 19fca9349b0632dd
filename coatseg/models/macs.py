"""Multiply-accumulates (MACs) of a network, counted on torch's meta device, where nothing is computed.

There CoaT runs by its plain definitions (models/backbones/attention.py). Only convolutions and matrix products are
counted, not norms, softmax and activations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from coatseg.models.heads.base import ObjectHead
from coatseg.models.heads.detection.base import DetectionHead, Maps
from coatseg.models.heads.detection.cascade import Cascade
from coatseg.models.heads.detection.one_stage import OneStage
from coatseg.models.heads.detection.rcnn import BOX_SIZE, MASK_SIZE, TwoStage
from coatseg.structures import Head, Level, Size

PROPOSALS, DETECTIONS = 1000, 100
"""How many regions of an image are counted for the box heads, and how many for the mask heads."""


def giga_macs(work: Callable[[], object]) -> float:
    """Count the MACs that `work` computes on meta tensors, in units of 1e9."""
    with FlopCounterMode(display=False) as counter:  # not under no_grad, which the counter does not bear
        work()
    return float(counter.get_total_flops()) / 2e9


def backbone_macs(backbone: nn.Module, size: Size, channels: int = 3) -> float:
    """Count the MACs, in units of 1e9, of a backbone on the meta device, for one image of `size`."""
    images = torch.zeros(1, channels, *size, device="meta")
    return giga_macs(lambda: backbone(images))


def head_macs(head: Head | ObjectHead, levels: Sequence[Level], size: Size) -> float | None:
    """Count the MACs, in units of 1e9, of a head on the meta device, for the pyramid of one image of `size`.

    Two-stage detectors are counted for 1000 proposed regions and 100 detections, however many they would find.
    Of other heads that find objects or segments, what is done until they are decoded is counted. Returns None for a
    detector of torchvision's parts of another kind, and for heads with
    deformable attention, which look where numbers say.
    """
    height, width = (side + -side % head.divisor for side in size)
    images = torch.zeros(1, 3, height, width, device="meta")
    pyramid = [
        torch.zeros(1, level.channels, height // level.stride, width // level.stride, device="meta") for level in levels
    ]
    if not isinstance(head, ObjectHead):
        return giga_macs(lambda: head(images, pyramid))
    if not isinstance(head, DetectionHead):
        try:
            return giga_macs(lambda: head(images, pyramid, [(height, width)]))
        except (NotImplementedError, RuntimeError):  # where queries look depends on numbers, and meta tensors have none
            return None
    parts = next((PARTS[kind] for kind in PARTS if isinstance(head, kind)), None)
    return None if parts is None else giga_macs(lambda: parts(head, head.fpn(pyramid)))


def _one_stage(head: OneStage, maps: Maps) -> None:
    head.detector.head(list(maps.values()))


def _two_stage(head: TwoStage, maps: Maps) -> None:
    regions = head.regions
    head.proposals.head(list(maps.values()))
    regions.box_predictor(regions.box_head(_pooled(maps, PROPOSALS, BOX_SIZE)))
    if regions.has_mask():
        regions.mask_predictor(regions.mask_head(_pooled(maps, DETECTIONS, MASK_SIZE)))


def _cascade(head: Cascade, maps: Maps) -> None:
    head.proposals.head(list(maps.values()))
    for step in head.boxes_by:
        step.box_predictor(step.box_head(_pooled(maps, PROPOSALS, BOX_SIZE)))
    for masks in getattr(head, "mask_steps", ()):
        masks(_pooled(maps, DETECTIONS, MASK_SIZE))


def _pooled(maps: Maps, count: int, side: int) -> Tensor:
    finest = next(iter(maps.values()))
    return finest.new_zeros(count, finest.shape[1], side, side)


PARTS: dict[type[DetectionHead], Callable[..., None]] = {
    OneStage: _one_stage,
    TwoStage: _two_stage,
    Cascade: _cascade,
}
"""For each kind of detector, the function that runs its layers with a fixed amount of work, whatever is detected."""
