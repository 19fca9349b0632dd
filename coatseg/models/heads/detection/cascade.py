"""Cascade R-CNN (Cai and Vasconcelos, 2018), with or without masks, on torchvision's parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import boxes as box_operations

from coatseg.models.heads.detection.base import DetectionHead, FeaturePyramid, Maps
from coatseg.models.heads.detection.cascade_steps import STEPS, BoxLoss, CascadeStep, MaskStep
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.heads.detection.rcnn import (
    LOSSES,
    MASK_SIZE,
    RCNN,
    MaskRCNN,
    box_layers,
    proposal_network,
    two_stage_pyramid,
)
from coatseg.models.heads.detection.regions import RegionPooler, mask_loss
from coatseg.registry.names import register
from coatseg.structures import Level, Size


@dataclass(frozen=True, kw_only=True)
class CascadeRCNN(RCNN):
    """The options of a cascade: `box_loss` compares the boxes of each step."""

    box_loss: BoxLoss = "smooth_l1"


@dataclass(frozen=True, kw_only=True)
class CascadeMaskRCNN(CascadeRCNN, MaskRCNN):
    """Those of a cascade with masks."""


class Cascade(DetectionHead):
    """A pyramid, a network that proposes regions, and steps that each refine what the one before gave.

    Boxes are those of the last step; the steps' class logits are averaged, as MMDetection does (Detectron2 averages
    their probabilities), and the probabilities of their masks.
    """

    def __init__(
        self,
        fpn: FeaturePyramid,
        proposals: RegionProposalNetwork,
        steps: Sequence[CascadeStep],
        levels_used: int,
        options: CascadeRCNN,
    ) -> None:
        super().__init__()
        self.fpn = fpn
        self.proposals = proposals
        self.steps = nn.ModuleList(steps)
        self.levels_used = levels_used
        self.score_threshold = options.score_threshold
        self.nms_threshold = options.nms_threshold
        self.detections = options.detections

    @property
    def boxes_by(self) -> list[CascadeStep]:
        """The steps in their order."""
        return cast(list[CascadeStep], list(self.steps))

    def losses(self, images: ImageList, maps: Maps, truth: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses of the proposals and of each step, whose boxes the next step starts from."""
        targets = [{**target, "labels": target["labels"] + 1} for target in truth]
        boxes, first = self.proposals(images, maps, targets)
        losses = {LOSSES[name]: loss for name, loss in first.items()}
        for number, step in enumerate(self.boxes_by, 1):
            boxes, matched, labels, _ = step.select_training_samples(boxes, targets)
            logits, deltas = step.predict(maps, boxes)
            every, known = torch.cat(boxes), torch.cat(labels)
            aims = torch.cat([_rows(target["boxes"], rows) for target, rows in zip(targets, matched, strict=True)])
            parts = step.loss(logits, deltas, every, known, aims)
            parts |= self.mask_losses(number - 1, maps, boxes, matched, labels, targets)
            losses |= {f"{name}_{number}": loss for name, loss in parts.items()}
            if number < len(self.boxes_by):
                chosen = torch.where(known > 0, known, logits[:, 1:].argmax(1) + 1)
                moved = torch.split(step.refined(deltas.detach(), every, chosen), [len(rows) for rows in boxes])
                boxes = _clipped(moved, images.image_sizes)
        return losses

    def mask_losses(
        self,
        number: int,
        maps: Maps,
        boxes: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Return the losses of a step's masks; there are none here."""
        return {}

    def detect(self, images: ImageList, maps: Maps) -> list[Detections]:
        """Find the objects of each image."""
        boxes, _ = self.proposals(images, maps)
        counts = [rows.shape[0] for rows in boxes]
        *earlier, last = self.boxes_by
        seen: list[Tensor] = []
        for step in earlier:
            logits, deltas = step.predict(maps, boxes)
            seen.append(logits)
            moved = step.refined(deltas, torch.cat(boxes), logits[:, 1:].argmax(1) + 1)
            boxes = _clipped(torch.split(moved, counts), images.image_sizes)
        logits, deltas = last.predict(maps, boxes)
        mean = torch.stack([*seen, logits]).mean(0).softmax(-1)
        # The last step's boxes are wanted for every class, not for its likeliest alone.
        every = last.box_coder.decode_single(deltas.flatten(1), torch.cat(boxes)).reshape(*mean.shape, 4)
        rows = zip(torch.split(every, counts), torch.split(mean, counts), images.image_sizes, strict=True)
        return self.with_masks(maps, [self._kept(*row) for row in rows])

    def with_masks(self, maps: Maps, found: list[Detections]) -> list[Detections]:
        """Add the masks; there are none here."""
        return found

    def _kept(self, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> Detections:
        """Choose among the boxes (N, 1 + classes, 4) of one image by their scores (N, 1 + classes)."""
        boxes = box_operations.clip_boxes_to_image(boxes, size)[:, 1:]
        row, label = torch.where(scores[:, 1:] > self.score_threshold)
        boxes, scores = boxes[row, label], scores[row, label + 1]
        wide = box_operations.remove_small_boxes(boxes, min_size=1e-2)
        boxes, scores, label = boxes[wide], scores[wide], label[wide]
        kept = box_operations.batched_nms(boxes, scores, label, self.nms_threshold)[: self.detections]
        return Detections(boxes[kept], label[kept], scores[kept])


class MaskCascade(Cascade):
    """The same, with a mask head for each step."""

    gives = frozenset({"masks"})
    mask_steps: nn.ModuleList
    mask_pooler: RegionPooler

    def add_masks(self, classes: int, options: MaskRCNN) -> None:
        """Build the mask heads."""
        self.mask_steps = nn.ModuleList(MaskStep(classes, options, step.weight) for step in STEPS)
        self.mask_pooler = RegionPooler(self.fpn.strides, MASK_SIZE)

    def mask_losses(
        self,
        number: int,
        maps: Maps,
        boxes: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
        targets: list[dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Return the loss of a step's masks at its boxes that hold an object."""
        head = cast(MaskStep, self.mask_steps[number])
        loss = mask_loss(lambda rows: head(self.mask_pooler(maps, rows)), boxes, matched, labels, targets)
        return {"masks": head.weight * loss}

    def with_masks(self, maps: Maps, found: list[Detections]) -> list[Detections]:
        """Add the mean of the steps' masks of each object's class."""
        features = self.mask_pooler(maps, [detections.boxes for detections in found])
        labels = torch.cat([detections.labels for detections in found])
        rows = torch.arange(labels.shape[0], device=labels.device)
        masks = torch.stack([head(features)[rows, labels + 1].sigmoid() for head in self.mask_steps]).mean(0)
        parts = torch.split(masks[:, None], [detections.labels.shape[0] for detections in found])
        return [
            Detections(detections.boxes, detections.labels, detections.scores, part)
            for detections, part in zip(found, parts, strict=True)
        ]


@register("head", "cascade_rcnn")
def cascade_rcnn(levels: Sequence[Level], classes: int, options: CascadeRCNN = CascadeRCNN()) -> Cascade:
    """Build Cascade R-CNN: three steps at IoU 0.5, 0.6 and 0.7; the rest is Faster R-CNN's.

    Raises:
        ConfigError: the backbone's strides do not begin at 4 and double from level to level; a box_norm without
            convolutions.
    """
    fpn = two_stage_pyramid(levels, "cascade_rcnn", options)
    return Cascade(fpn, proposal_network(fpn, options), box_steps(fpn, classes, options), len(levels), options)


@register("head", "cascade_mask_rcnn")
def cascade_mask_rcnn(
    levels: Sequence[Level], classes: int, options: CascadeMaskRCNN = CascadeMaskRCNN()
) -> MaskCascade:
    """Build Cascade Mask R-CNN: Cascade R-CNN and a mask head for each step.

    Raises:
        ConfigError: the backbone's strides do not begin at 4 and double from level to level; a box_norm without
            convolutions.
    """
    fpn = two_stage_pyramid(levels, "cascade_mask_rcnn", options)
    head = MaskCascade(fpn, proposal_network(fpn, options), box_steps(fpn, classes, options), len(levels), options)
    head.add_masks(classes, options)
    return head


def box_steps(fpn: FeaturePyramid, classes: int, options: CascadeRCNN) -> list[CascadeStep]:
    """Build the steps, each with box layers of its own."""
    return [CascadeStep(step, fpn, classes, box_layers(options), options.box_loss, options.regions) for step in STEPS]


def _rows(boxes: Tensor, rows: Tensor) -> Tensor:
    """Return rows of boxes (N, 4); of none, rows of zeros, which only background is compared with."""
    return boxes[rows] if len(boxes) else boxes.new_zeros(len(rows), 4)


def _clipped(boxes: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
    """Clip boxes (N, 4), a tensor an image, to their images."""
    return [box_operations.clip_boxes_to_image(rows, size) for rows, size in zip(boxes, sizes, strict=True)]
