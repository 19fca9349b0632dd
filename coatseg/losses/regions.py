"""What losses of regions share: sums of probabilities over each class of each image, and their mean."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from coatseg.losses.truth import probabilities, truth_of


class Regions(NamedTuple):
    """Sums over the valid pixels of each image and class, (B, K) float32.

    `overlap` of the probability where the class is, `predicted` of the probability everywhere, `extent` of the truth.
    """

    overlap: Tensor
    predicted: Tensor
    extent: Tensor


def regions(logits: Tensor, labels: Tensor, ignore_index: int) -> Regions:
    """Sum the probabilities of logits (B, K, H, W) over the truth of labels of either kind."""
    there, valid = truth_of(labels, logits.shape[1], ignore_index)
    predicted = probabilities(logits, labels) * valid
    return Regions((predicted * there).sum((2, 3)), predicted.sum((2, 3)), there.sum((2, 3)).float())


def sum_of_means(losses: Tensor, counted: Tensor) -> Tensor:
    """Average losses (B, K) over the classes of an image that are `counted` (B, K) bool, and add the images up."""
    per_image = torch.where(counted, losses, 0.0).sum(1) / counted.sum(1).clamp(min=1)
    return per_image.sum()
