"""One step of Cascade R-CNN (Cai and Vasconcelos, 2018): heads that refine boxes, and that draw masks in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import generalized_box_iou_loss

from coatseg.models.heads.detection.base import FeaturePyramid, Maps, in_float32
from coatseg.models.heads.detection.rcnn import BOX_SIZE, HIDDEN, MaskRCNN, mask_layers
from coatseg.models.heads.detection.regions import RegionPooler

BoxLoss = Literal["smooth_l1", "giou"]


@dataclass(frozen=True)
class Step:
    """One step of the cascade: the IoU above which a box is an object, the factor of its losses, and of its targets."""

    iou: float
    weight: float
    box_weights: tuple[float, float, float, float]


STEPS = (
    Step(0.5, 1.0, (10.0, 10.0, 5.0, 5.0)),
    Step(0.6, 0.5, (20.0, 20.0, 10.0, 10.0)),
    Step(0.7, 0.25, (1 / 0.033, 1 / 0.033, 1 / 0.067, 1 / 0.067)),
)
"""The paper's three (section 4), with the standard deviations of targets that MMDetection uses."""

GIOU_WEIGHT = 10.0
"""What MMDetection multiplies a GIoU loss of boxes by."""
SMOOTH_L1_BETA = 1 / 9


class CascadeStep(RoIHeads):  # type: ignore[misc]
    """torchvision's region heads as one step: it refines boxes where those would end."""

    def __init__(
        self,
        step: Step,
        fpn: FeaturePyramid,
        classes: int,
        box_head: nn.Module,
        box_loss: BoxLoss,
        regions: int,
    ) -> None:
        super().__init__(
            RegionPooler(fpn.strides, BOX_SIZE),
            box_head,
            in_float32(FastRCNNPredictor(HIDDEN, classes + 1)),
            fg_iou_thresh=step.iou,
            bg_iou_thresh=step.iou,
            batch_size_per_image=regions,
            positive_fraction=0.25,
            bbox_reg_weights=step.box_weights,
            score_thresh=0.0,
            nms_thresh=0.5,
            detections_per_img=0,
        )
        self.weight = step.weight
        self.box_loss = box_loss

    def predict(self, maps: Maps, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logits (N, 1 + classes) of all images' boxes and their refinements (N, 1 + classes, 4)."""
        logits, deltas = self.box_predictor(self.box_head(self.box_roi_pool(maps, boxes)))
        return logits, deltas.reshape(*logits.shape, 4)

    def refined(self, deltas: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """Return the boxes (N, 4) that the refinements of these classes lead to."""
        chosen = deltas[torch.arange(labels.shape[0], device=labels.device), labels]
        decoded: Tensor = self.box_coder.decode_single(chosen, boxes)
        return decoded.reshape(-1, 4)

    def loss(self, logits: Tensor, deltas: Tensor, boxes: Tensor, labels: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses of boxes (N, 4) that are meant to become `truth`, 0 being background."""
        objects = torch.where(labels > 0)[0]
        boxes, truth, classes = boxes[objects], truth[objects], labels[objects]
        if self.box_loss == "giou":
            found = self.refined(deltas[objects], boxes, classes)
            distance = GIOU_WEIGHT * generalized_box_iou_loss(found, truth, reduction="sum")
        else:
            wanted = self.box_coder.encode_single(truth, boxes)
            distance = functional.smooth_l1_loss(deltas[objects, classes], wanted, beta=SMOOTH_L1_BETA, reduction="sum")
        losses = {"classes": functional.cross_entropy(logits, labels), "boxes": distance / max(1, len(labels))}
        return {name: self.weight * loss for name, loss in losses.items()}


class MaskStep(nn.Module):
    """The mask head of one step."""

    def __init__(self, classes: int, options: MaskRCNN, weight: float) -> None:
        super().__init__()
        self.head, self.predictor = mask_layers(classes, options)
        self.weight = weight

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (N, 1 + classes, 28, 28) of pooled regions."""
        logits: Tensor = self.predictor(self.head(features))
        return logits
