"""The losses of queries that find boxes (Deformable DETR, Zhu et al., 2021; DETR, Carion et al., 2020, section 3.1).

Queries are matched with objects for every layer by itself; all layers, and the first stage, are matched at once. Boxes
are centre x, y, width and height as shares of an image's canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_convert

from coatseg.models.heads.detection.base import share
from coatseg.models.heads.query.matching import match
from coatseg.models.precision import full_precision

CLASSES, BOXES, GIOU = 2.0, 5.0, 2.0
"""What the focal loss, the distance of boxes and their generalised IoU count, as losses and as costs (table 5)."""
ALPHA, GAMMA = 0.25, 2.0
"""The focal loss's (Lin et al., "Focal loss", 2017)."""
TINY = 1e-8


@dataclass(frozen=True)
class Truth:
    """The objects of one image: labels (N,) int64 and boxes (N, 4) float32."""

    labels: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Guesses:
    """What a layer says of a batch: logits (B, Q, classes), boxes (B, Q, 4), which queries are real (B, Q) or None."""

    logits: Tensor
    boxes: Tensor
    mask: Tensor | None = None


def box_losses(layers: dict[str, Guesses], truths: Sequence[Truth]) -> dict[str, Tensor]:
    """Return the weighted losses of each layer: "classes", "boxes" and "giou" with the layer's suffix.

    Each is a sum over queries divided by the objects in the batch, in the mean over processes.
    """
    count = torch.tensor(sum(len(truth.labels) for truth in truths), device=next(iter(layers.values())).logits.device)
    scale = share(count) / count.clamp(min=1)
    with full_precision(count.device):
        pairs = matched(list(layers.values()), truths)
        losses = {}
        for (suffix, guesses), chosen in zip(layers.items(), pairs, strict=True):
            for name, loss in _losses(guesses, truths, chosen).items():
                losses[name + suffix] = scale * loss
    return losses


Pairs = list[tuple[Tensor, Tensor]]


@torch.no_grad()
def matched(layers: Sequence[Guesses], truths: Sequence[Truth]) -> list[Pairs]:
    """Return for each layer the queries and the objects of every image that belong together."""
    costs = [_costs(guesses, image, truth) for guesses in layers for image, truth in enumerate(truths)]
    device = layers[0].logits.device
    pairs = [(queries.to(device), objects.to(device)) for queries, objects in match(costs)]
    return [pairs[begin : begin + len(truths)] for begin in range(0, len(pairs), len(truths))]


def _costs(guesses: Guesses, image: int, truth: Truth) -> Tensor:
    """Return what it would cost if a query learnt an object, (queries, objects); infinity for one that is not real."""
    probabilities = guesses.logits[image].float().sigmoid()[:, truth.labels]
    positive = -ALPHA * (1 - probabilities) ** GAMMA * (probabilities + TINY).log()
    negative = -(1 - ALPHA) * probabilities**GAMMA * (1 - probabilities + TINY).log()
    boxes = guesses.boxes[image].float()
    distance = torch.cdist(boxes, truth.boxes, p=1)
    overlap = generalized_iou(boxes[:, None], truth.boxes)
    costs: Tensor = CLASSES * (positive - negative) + BOXES * distance - GIOU * overlap
    return costs if guesses.mask is None else costs.masked_fill(~guesses.mask[image, :, None], torch.inf)


def _losses(guesses: Guesses, truths: Sequence[Truth], pairs: Pairs) -> dict[str, Tensor]:
    """Return the sums of the losses of one layer."""
    images = torch.cat([torch.full_like(queries, image) for image, (queries, _) in enumerate(pairs)])
    queries = torch.cat([queries for queries, _ in pairs])
    labels = torch.cat([truth.labels[objects] for truth, (_, objects) in zip(truths, pairs, strict=True)])
    boxes = torch.cat([truth.boxes[objects] for truth, (_, objects) in zip(truths, pairs, strict=True)])
    logits = guesses.logits.float()
    aims = torch.zeros_like(logits)
    aims[images, queries, labels] = 1.0
    found = guesses.boxes[images, queries].float()
    return {
        "classes": CLASSES * focal_loss(logits, aims, guesses.mask),
        "boxes": BOXES * (found - boxes).abs().sum(),
        "giou": GIOU * (1 - generalized_iou(found, boxes)).sum(),
    }


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised IoU (Rezatofighi et al., 2019) of boxes (..., 4), which are broadcast: -1 to 1."""
    return overlaps(first, second)[1]


def overlaps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the IoU and the generalised IoU of boxes (..., 4), which are broadcast.

    Nothing is added to areas, as those of small objects are tiny shares of an image.
    """
    one, two = box_convert(first, "cxcywh", "xyxy"), box_convert(second, "cxcywh", "xyxy")
    both = (torch.minimum(one[..., 2:], two[..., 2:]) - torch.maximum(one[..., :2], two[..., :2])).clamp(min=0).prod(-1)
    hull = (torch.maximum(one[..., 2:], two[..., 2:]) - torch.minimum(one[..., :2], two[..., :2])).prod(-1)
    union = first[..., 2:].prod(-1) + second[..., 2:].prod(-1) - both
    least = torch.finfo(union.dtype).tiny
    iou = both / union.clamp(min=least)
    return iou, iou - (hull - union) / hull.clamp(min=least)


def focal_loss(logits: Tensor, aims: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the sum of the binary focal loss of logits (B, Q, classes) against aims of 0 and 1, where `mask` is true.

    It is written by softplus, exact for any logit: -log sigmoid(x) is softplus(-x).
    """
    towards = torch.where(aims > 0, -logits, logits)
    weights = torch.where(aims > 0, ALPHA, 1 - ALPHA)
    losses = weights * towards.sigmoid() ** GAMMA * functional.softplus(towards)
    return losses.sum() if mask is None else (losses * mask[..., None]).sum()
