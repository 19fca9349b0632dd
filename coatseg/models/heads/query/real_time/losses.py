"""What RT-DETR learns by: varifocal loss of the classes, L1 and generalised IoU of the boxes, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.query.boxes import Pairs, Queries, Truth, box_losses

WEIGHTS = {"classes": 1.0, "boxes": 5.0, "giou": 2.0}
"""Of the losses (RT-DETR, table A in its appendix)."""
ALPHA, GAMMA = 0.75, 2.0
"""Of the varifocal loss (Zhang et al., "VarifocalNet", 2021, section 3.3)."""


def layer_losses(queries: Queries, pairs: Pairs, truth: Sequence[Truth]) -> dict[str, Tensor]:
    """Return the weighted sums (L,) of the losses of each layer's queries by name, over images and pairs."""
    boxes = torch.cat([objects.boxes for objects in truth])[pairs.objects]
    labels = torch.cat([objects.labels for objects in truth])[pairs.objects]
    distance, giou, iou = box_losses(pairs.take(queries.boxes), boxes)
    sums = {"classes": varifocal(queries.logits, pairs, labels, iou), "boxes": distance.sum(1), "giou": giou.sum(1)}
    return {name: WEIGHTS[name] * loss for name, loss in sums.items()}


def varifocal(logits: Tensor, pairs: Pairs, labels: Tensor, iou: Tensor) -> Tensor:
    """Return the varifocal loss (L,) of logits (L, B, Q, C), summed over all but the layers.

    A paired query is to score its object's class, labels (L, P), by the `iou` (L, P) of its box, which also is what
    this counts; every other score is to be 0, and counts by ALPHA times its GAMMA-th power.
    """
    layers = torch.arange(len(logits), device=logits.device)[:, None]
    target = torch.zeros_like(logits)
    target[layers, pairs.images, pairs.queries, labels] = iou
    wanted = torch.zeros_like(logits, dtype=torch.bool)
    wanted[layers, pairs.images, pairs.queries, labels] = True
    weight = torch.where(wanted, target, ALPHA * logits.detach().sigmoid() ** GAMMA)
    return functional.binary_cross_entropy_with_logits(logits, target, weight, reduction="none").sum((1, 2, 3))
