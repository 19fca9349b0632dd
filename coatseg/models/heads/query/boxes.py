"""Boxes as queries predict them: centre, width and height as shares of an image, what pairs cost, and their losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_convert, generalized_box_iou

from coatseg.models.heads.base import without_crowds
from coatseg.models.heads.query.matching import match
from coatseg.structures import InstanceTarget, Size

CLASS_COST, BOX_COST, GIOU_COST = 2.0, 5.0, 2.0
"""Weights of a pair's costs (Deformable DETR, appendix A.4; RT-DETR, table A)."""
ALPHA, GAMMA = 0.25, 2.0
"""Of the focal cost of classes (the same)."""
EPSILON = 1e-8


@dataclass(frozen=True)
class Truth:
    """The objects to learn of one image, N of them.

    boxes (N, 4) float32, centre x, y, width and height as shares of the image with its padding; labels (N,) int64.
    """

    boxes: Tensor
    labels: Tensor

    @classmethod
    def of(cls, target: InstanceTarget, size: Size) -> Truth:
        """Return the objects that are no crowds, of an image padded to `size` (height, width)."""
        objects = without_crowds(target)
        return cls(shares(objects.boxes.float(), size), objects.labels)

    def __len__(self) -> int:
        return len(self.labels)


def shares(boxes: Tensor, size: Size) -> Tensor:
    """Return boxes (..., 4) of corners in pixels as centre, width and height, shares of `size` (height, width)."""
    height, width = size
    return box_convert(boxes, "xyxy", "cxcywh") / boxes.new_tensor([width, height, width, height])


def corners(boxes: Tensor, size: Size = (1, 1)) -> Tensor:
    """Return boxes (..., 4) of centre, width and height, shares of `size` (height, width), as corners in pixels."""
    height, width = size
    return box_convert(boxes, "cxcywh", "xyxy") * boxes.new_tensor([width, height, width, height])


def costs(logits: Tensor, boxes: Tensor, truth: Truth) -> Tensor:
    """Return what each pair costs (..., Q, N), of predictions for one image: logits (..., Q, C), boxes (..., Q, 4).

    The class costs what focal loss would rise by if the query had to say it; the box its L1 distance and minus its
    generalised IoU.
    """
    score = logits.detach().float().sigmoid()[..., truth.labels]
    said = ALPHA * (1 - score) ** GAMMA * -(score + EPSILON).log()
    unsaid = (1 - ALPHA) * score**GAMMA * -(1 - score + EPSILON).log()
    flat = boxes.detach().float().flatten(0, -2)
    distance = torch.cdist(flat, truth.boxes, p=1)
    overlap = generalized_box_iou(corners(flat), corners(truth.boxes))
    of_boxes = (BOX_COST * distance - GIOU_COST * overlap).unflatten(0, boxes.shape[:-1])
    return CLASS_COST * (said - unsaid) + of_boxes


@dataclass(frozen=True)
class Queries:
    """What Q queries predict for each image in each of L layers.

    logits (L, B, Q, classes), boxes (L, B, Q, 4) as centre, width and height, shares of the image; float32.
    """

    logits: Tensor
    boxes: Tensor

    def __len__(self) -> int:
        return len(self.logits)


@dataclass(frozen=True)
class Pairs:
    """Which prediction learns which object: P pairs in each of L layers.

    `images` (P,) are places in the batch, `queries` (L, P) in the predictions of an image, `objects` (L, P) in the
    concatenated truth of all images; int64 on the device of the predictions.
    """

    images: Tensor
    queries: Tensor
    objects: Tensor

    def take(self, predictions: Tensor) -> Tensor:
        """Return the predictions (L, P, K) of the pairs, of all predictions (L, B, Q, K)."""
        layers = torch.arange(len(predictions), device=predictions.device)[:, None]
        return predictions[layers, self.images, self.queries]


def pair(queries: Queries, truth: Sequence[Truth]) -> Pairs:
    """Match the queries of every layer and image with the objects of the image."""
    layers, device = len(queries), queries.logits.device
    every = [costs(queries.logits[:, row], queries.boxes[:, row], objects) for row, objects in enumerate(truth)]
    matched = match([cost for layers in zip(*every, strict=True) for cost in layers])
    counts = torch.tensor([len(chosen) for chosen, _ in matched[: len(truth)]])
    starts = torch.tensor([0, *map(len, truth)]).cumsum(0)[:-1]
    images = torch.arange(len(truth)).repeat_interleave(counts)
    chosen = torch.cat([places for places, _ in matched]).view(layers, -1)
    objects = torch.cat([places for _, places in matched]).view(layers, -1) + starts[images]
    return Pairs(images.to(device), chosen.to(device), objects.to(device))


def box_losses(predicted: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return of pairs of boxes (..., 4) the L1 distances, 1 - generalised IoU and, without a gradient, IoU, (...) each.

    Generalised IoU: Rezatofighi et al., 2019.
    """
    distance = functional.l1_loss(predicted, wanted, reduction="none").sum(-1)
    first, second = corners(predicted), corners(wanted)
    inner = _area(torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:]))
    outer = _area(torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:]))
    union = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:]) - inner
    iou = inner / union.clamp(min=EPSILON)
    return distance, 1 - iou + (outer - union) / outer.clamp(min=EPSILON), iou.detach()


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(-1)
