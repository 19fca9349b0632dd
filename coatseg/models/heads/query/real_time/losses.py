"""What RT-DETR learns by: varifocal loss of the classes, L1 and generalised IoU of the boxes, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.query.box_losses import BOXES, GIOU, Guesses, Pairs, Truth, overlaps

CLASSES = 1.0
"""What the varifocal loss counts; boxes count as in Deformable DETR (RT-DETR, Zhao et al., 2024, appendix)."""
ALPHA, GAMMA = 0.75, 2.0
"""Of the varifocal loss (Zhang et al., "VarifocalNet", 2021, section 3.3)."""


def layer_losses(guesses: Guesses, truths: Sequence[Truth], pairs: Pairs) -> dict[str, Tensor]:
    """Return the weighted sums of a layer's losses by name; `pairs` are each image's queries and their objects."""
    images = torch.cat([torch.full_like(queries, image) for image, (queries, _) in enumerate(pairs)])
    places = images, torch.cat([queries for queries, _ in pairs])
    labels = torch.cat([truth.labels[objects] for truth, (_, objects) in zip(truths, pairs, strict=True)])
    boxes = torch.cat([truth.boxes[objects] for truth, (_, objects) in zip(truths, pairs, strict=True)])
    found = guesses.boxes[places].float()
    iou, generalised = overlaps(found, boxes)
    return {
        "classes": CLASSES * varifocal(guesses.logits.float(), (*places, labels), iou.detach()),
        "boxes": BOXES * (found - boxes).abs().sum(),
        "giou": GIOU * (1 - generalised).sum(),
    }


def varifocal(logits: Tensor, said: tuple[Tensor, Tensor, Tensor], iou: Tensor) -> Tensor:
    """Return the sum of the varifocal loss of logits (B, Q, classes).

    `said` are the images, queries and classes of what is to be said: the score of each is to be the `iou` of its box,
    which also is what this counts. Every other score is to be 0, and counts by ALPHA times its GAMMA-th power.
    """
    aims = torch.zeros_like(logits)
    aims[said] = iou
    wanted = torch.zeros_like(logits, dtype=torch.bool)
    wanted[said] = True
    weights = torch.where(wanted, aims, ALPHA * logits.detach().sigmoid() ** GAMMA)
    return functional.binary_cross_entropy_with_logits(logits, aims, weights, reduction="sum")
