"""Files as MMDetection and Detectron2 save their detectors on CoaT: names and shapes written out, values random."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from coatseg.models.weights.files import to_authors

Shapes = dict[str, tuple[int, ...]]

WIDTH, HIDDEN, ANCHORS = 256, 1024, 3


def convolution(name: str, outputs: int, inputs: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def mmdet_mask_head(name: str, classes: int, width: int) -> Shapes:
    shapes: Shapes = {}
    for number in range(4):
        shapes |= convolution(f"{name}.convs.{number}.conv", width, width, 3)
    return (
        shapes
        | convolution(f"{name}.upsample", width, width, 2)
        | convolution(f"{name}.conv_logits", classes, width, 1)
    )


def mmdet_pyramid(channels: tuple[int, ...], width: int) -> Shapes:
    shapes: Shapes = {}
    for level, inputs in enumerate(channels):
        shapes |= convolution(f"neck.lateral_convs.{level}.conv", width, inputs, 1)
        shapes |= convolution(f"neck.fpn_convs.{level}.conv", width, width, 3)
    shapes |= convolution("rpn_head.rpn_conv", width, width, 3)
    return (
        shapes
        | convolution("rpn_head.rpn_cls", ANCHORS, width, 1)
        | convolution("rpn_head.rpn_reg", 4 * ANCHORS, width, 1)
    )


def mmdet_mask_rcnn(channels: tuple[int, ...], classes: int = 80, width: int = WIDTH) -> Shapes:
    """Mask R-CNN with Shared2FCBBoxHead."""
    box = "roi_head.bbox_head"
    shapes = mmdet_pyramid(channels, width)
    shapes |= linear(f"{box}.fc_cls", classes + 1, HIDDEN) | linear(f"{box}.fc_reg", 4 * classes, HIDDEN)
    shapes |= linear(f"{box}.shared_fcs.0", HIDDEN, width * 49) | linear(f"{box}.shared_fcs.1", HIDDEN, HIDDEN)
    return shapes | mmdet_mask_head("roi_head.mask_head", classes, width)


def mmdet_cascade(channels: tuple[int, ...], classes: int = 80, width: int = WIDTH) -> Shapes:
    """Cascade Mask R-CNN with ConvFCBBoxHead of four convolutions with SyncBN and one linear layer, by class."""
    shapes = mmdet_pyramid(channels, width)
    for stage in range(3):
        box = f"roi_head.bbox_head.{stage}"
        shapes |= linear(f"{box}.fc_cls", classes + 1, HIDDEN) | linear(f"{box}.fc_reg", 4 * classes, HIDDEN)
        for number in range(4):
            norm = f"{box}.shared_convs.{number}.bn"
            shapes |= {f"{box}.shared_convs.{number}.conv.weight": (width, width, 3, 3)}
            shapes |= {f"{norm}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
            shapes |= {f"{norm}.num_batches_tracked": ()}
        shapes |= linear(f"{box}.shared_fcs.0", HIDDEN, width * 49)
    for stage in range(3):
        shapes |= mmdet_mask_head(f"roi_head.mask_head.{stage}", classes, width)
    return shapes


def detectron2_mask_rcnn(channels: tuple[int, ...], classes: int = 80, width: int = WIDTH) -> Shapes:
    """Mask R-CNN of Detectron2 with an FPN."""
    shapes: Shapes = {}
    for level, inputs in enumerate(channels, 2):
        shapes |= convolution(f"backbone.fpn_lateral{level}", width, inputs, 1)
        shapes |= convolution(f"backbone.fpn_output{level}", width, width, 3)
    rpn = "proposal_generator.rpn_head"
    shapes |= convolution(f"{rpn}.conv", width, width, 3) | convolution(f"{rpn}.objectness_logits", ANCHORS, width, 1)
    shapes |= convolution(f"{rpn}.anchor_deltas", 4 * ANCHORS, width, 1)
    shapes |= linear("roi_heads.box_head.fc1", HIDDEN, width * 49) | linear("roi_heads.box_head.fc2", HIDDEN, HIDDEN)
    shapes |= linear("roi_heads.box_predictor.cls_score", classes + 1, HIDDEN)
    shapes |= linear("roi_heads.box_predictor.bbox_pred", 4 * classes, HIDDEN)
    for number in range(1, 5):
        shapes |= convolution(f"roi_heads.mask_head.mask_fcn{number}", width, width, 3)
    mask = "roi_heads.mask_head"
    return shapes | convolution(f"{mask}.deconv", width, width, 2) | convolution(f"{mask}.predictor", classes, width, 1)


def tensors_of(shapes: Shapes, backbone: Mapping[str, Tensor], prefix: str = "backbone.") -> dict[str, Tensor]:
    """Fill the shapes, and put a backbone's tensors before them, by the names of the authors."""
    generator = torch.Generator().manual_seed(3)
    tensors = {f"{prefix}{key}": value for key, value in to_authors(backbone).items()}
    for key, shape in shapes.items():
        values = torch.randn(shape, generator=generator) * 0.05
        whole = key.endswith("num_batches_tracked")
        tensors[key] = torch.tensor(7) if whole else values.abs() + 0.5 if key.endswith("running_var") else values
    return tensors


def write_mmdet(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write a file with what mmcv puts beside the weights."""
    meta = {"mmdet_version": "2.11.0", "config": "model = dict()", "CLASSES": ("person", "bicycle"), "epoch": 12}
    torch.save({"meta": meta, "state_dict": dict(tensors), "args": argparse.Namespace(launcher="none")}, path)
    return path
