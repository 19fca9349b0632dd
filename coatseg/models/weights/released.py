"""Map the names of Mask R-CNN and Cascade R-CNN in MMDetection and Detectron2 to ours.

Both number the classes from 0 and put the background last, without box refinements or masks of its own; torchvision's
heads, which we use, put it first and have rows for it in every layer, which are never used. All else is the same
numbers in the same order: pyramid, anchors by ratio, box refinements by class, masks.

Weights do not tell how both frameworks test; our heads and conf/data/coco.yaml do the same: images in RGB with
ImageNet's mean and deviation, resized to 800 and at most 1333, sides rounded to the nearest pixel, padded with zeros to
a multiple of 32; anchors of 8 strides, neither rounded nor shifted; 1000 proposals a level before their NMS at 0.7 and
1000 after it; aligned RoIAlign with as many samples as pixels; boxes above 0.05, NMS at 0.5 by class, 100 boxes; mask
probabilities from 0.5 on, resampled at pixel centres. Cascade R-CNN averages the logits of its steps, and the
probabilities of their masks, and refines by the most probable class other than background, as MMDetection does.

The names of Deformable DETR are in official_detr.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from coatseg.models.weights.files import State, to_ours
from coatseg.models.weights.official_detr import MARK, rename_detr


@dataclass(frozen=True)
class Layout:
    """The names of a detector in a framework: a tensor to recognise it by, the backbone's prefix, patterns of the rest.

    The prefix is a pattern too. A pattern matches the beginning of a name and is replaced as by `re.sub`.
    """

    mark: str
    backbone: str
    parts: Mapping[str, str]

    def our_name(self, key: str) -> str | None:
        """Return our name of a tensor of the head, or None if there is none."""
        for pattern, ours in self.parts.items():
            if match := re.match(pattern, key):
                return "head." + match.expand(ours) + key[match.end() :]
        return None


@dataclass(frozen=True)
class Renamed:
    """A detector's tensors by our names, and the framework's names of tensors that have no counterpart in ours."""

    state: State
    unknown: tuple[str, ...]


RPN = "proposals.head"
MMDETECTION = Layout(
    "rpn_head.rpn_conv.weight",
    r"backbone\.",
    {
        r"neck\.lateral_convs\.(\d)\.conv\.": r"fpn.network.inner_blocks.\1.0.",
        r"neck\.fpn_convs\.(\d)\.conv\.": r"fpn.network.layer_blocks.\1.0.",
        r"rpn_head\.rpn_conv\.": rf"{RPN}.conv.0.0.",
        r"rpn_head\.rpn_cls\.": rf"{RPN}.cls_logits.",
        r"rpn_head\.rpn_reg\.": rf"{RPN}.bbox_pred.",
        # Two linear layers; those of the cascade follow their convolutions and come with the number of their step.
        r"roi_head\.bbox_head\.shared_fcs\.0\.": r"regions.box_head.fc6.",
        r"roi_head\.bbox_head\.shared_fcs\.1\.": r"regions.box_head.fc7.",
        r"roi_head\.bbox_head\.fc_cls\.": r"regions.box_predictor.cls_score.",
        r"roi_head\.bbox_head\.fc_reg\.": r"regions.box_predictor.bbox_pred.",
        r"roi_head\.mask_head\.convs\.(\d)\.conv\.": r"regions.mask_head.\1.0.",
        r"roi_head\.mask_head\.upsample\.": r"regions.mask_predictor.conv5_mask.",
        r"roi_head\.mask_head\.conv_logits\.": r"regions.mask_predictor.mask_fcn_logits.",
        r"roi_head\.bbox_head\.(\d)\.shared_convs\.(\d)\.conv\.": r"steps.\1.box_head.\2.0.",
        r"roi_head\.bbox_head\.(\d)\.shared_convs\.(\d)\.bn\.": r"steps.\1.box_head.\2.1.",
        r"roi_head\.bbox_head\.(\d)\.shared_fcs\.0\.": r"steps.\1.box_head.5.",
        r"roi_head\.bbox_head\.(\d)\.fc_cls\.": r"steps.\1.box_predictor.cls_score.",
        r"roi_head\.bbox_head\.(\d)\.fc_reg\.": r"steps.\1.box_predictor.bbox_pred.",
        r"roi_head\.mask_head\.(\d)\.convs\.(\d)\.conv\.": r"mask_steps.\1.head.\2.0.",
        r"roi_head\.mask_head\.(\d)\.upsample\.": r"mask_steps.\1.predictor.conv5_mask.",
        r"roi_head\.mask_head\.(\d)\.conv_logits\.": r"mask_steps.\1.predictor.mask_fcn_logits.",
    },
)
"""The names of MMDetection 2, in which Cascade R-CNN has the 4conv1fc heads of the authors' configurations."""

_PYRAMID = {str(level): str(level - 2) for level in range(2, 6)}
_MASKS = {str(number): str(number - 1) for number in range(1, 5)}
DETECTRON2 = Layout(
    "proposal_generator.rpn_head.conv.weight",
    r"backbone\.bottom_up\.(backbone\.)?",
    {
        **{rf"backbone\.fpn_lateral{two}\.": f"fpn.network.inner_blocks.{zero}.0." for two, zero in _PYRAMID.items()},
        **{rf"backbone\.fpn_output{two}\.": f"fpn.network.layer_blocks.{zero}.0." for two, zero in _PYRAMID.items()},
        r"proposal_generator\.rpn_head\.conv\.": rf"{RPN}.conv.0.0.",
        r"proposal_generator\.rpn_head\.objectness_logits\.": rf"{RPN}.cls_logits.",
        r"proposal_generator\.rpn_head\.anchor_deltas\.": rf"{RPN}.bbox_pred.",
        r"roi_heads\.box_head\.fc1\.": "regions.box_head.fc6.",
        r"roi_heads\.box_head\.fc2\.": "regions.box_head.fc7.",
        r"roi_heads\.box_predictor\.cls_score\.": "regions.box_predictor.cls_score.",
        r"roi_heads\.box_predictor\.bbox_pred\.": "regions.box_predictor.bbox_pred.",
        **{rf"roi_heads\.mask_head\.mask_fcn{one}\.": f"regions.mask_head.{zero}.0." for one, zero in _MASKS.items()},
        r"roi_heads\.mask_head\.deconv\.": "regions.mask_predictor.conv5_mask.",
        r"roi_heads\.mask_head\.predictor\.": "regions.mask_predictor.mask_fcn_logits.",
    },
)

LAYOUTS = (MMDETECTION, DETECTRON2)


def rename(tensors: Mapping[str, Tensor]) -> Renamed | None:
    """Return a detector's tensors under our names, with the background first; None if the framework is not known.

    Raises:
        WeightsError: names of one shared parameter of the backbone hold different values.
    """
    if MARK in tensors:
        return Renamed(*rename_detr(tensors))
    layout = next((layout for layout in LAYOUTS if layout.mark in tensors), None)
    if layout is None:
        return None
    backbone, state, unknown = {}, {}, []
    for key, value in tensors.items():
        name = layout.our_name(key)
        if name is not None:
            state[name] = _background_first(name, value)
        elif match := re.match(layout.backbone, key):
            backbone[key[match.end() :]] = value
        else:
            unknown.append(key)
    state |= {f"backbone.{key}": value for key, value in to_ours(backbone).items()}
    return Renamed(state, tuple(unknown))


def _moved(rows: Tensor) -> Tensor:
    """Move the last row, that of the background, to the front."""
    return rows.roll(1, dims=0)


def _without_refinements(rows: Tensor) -> Tensor:
    """Put four rows for the background, which are never used, before those of the classes."""
    return torch.cat([torch.zeros_like(rows[:4]), rows])


def _without_mask(rows: Tensor) -> Tensor:
    """Put a row for the background, which is never used, before those of the classes."""
    return torch.cat([torch.zeros_like(rows[:1]), rows])


CLASS_LAYERS: dict[str, Callable[[Tensor], Tensor]] = {
    ".box_predictor.cls_score.": _moved,
    ".box_predictor.bbox_pred.": _without_refinements,
    ".mask_fcn_logits.": _without_mask,
}
"""For each layer whose rows are classes, the function that puts the background first."""


def _background_first(name: str, rows: Tensor) -> Tensor:
    return next((move(rows) for part, move in CLASS_LAYERS.items() if part in name), rows)
