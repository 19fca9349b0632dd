"""Both kinds of labels in one form: class numbers (B, H, W), one class a pixel, and layers (B, K, H, W), any number.

The losses of regions share the sums of probabilities over each class of each image, and their mean.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Truth(NamedTuple):
    """Where each class is present, and where that is known: both (B, K, H, W) bool; `there` only where `valid`."""

    there: Tensor
    valid: Tensor


def are_layers(labels: Tensor) -> bool:
    """Return whether labels are layers (B, K, H, W) rather than class numbers (B, H, W)."""
    return labels.ndim == 4


def truth_of(labels: Tensor, classes: int, ignore_index: int) -> Truth:
    """Return the truth of each class, (B, K, H, W), from labels of either kind."""
    valid = labels != ignore_index
    if are_layers(labels):
        return Truth(labels == 1, valid)
    numbers, valid = torch.where(valid, labels, 0).unsqueeze(1), valid.unsqueeze(1)
    batch, _, *size = numbers.shape
    nowhere = torch.zeros(batch, classes, *size, dtype=torch.bool, device=labels.device)
    return Truth(nowhere.scatter(1, numbers, valid), valid.expand(-1, classes, -1, -1))


def probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the probability of each class, (B, K, H, W): a sigmoid each for layers, softmax for class numbers."""
    return logits.sigmoid() if are_layers(labels) else logits.softmax(1)


def images_with_truth(labels: Tensor, ignore_index: int) -> Tensor:
    """Count the images that have valid pixels, as float32."""
    return (labels != ignore_index).flatten(1).any(1).sum().float()


def images_with_a_class(labels: Tensor, ignore_index: int) -> Tensor:
    """Count the images that show a class, as float32; layers may show none."""
    there = labels == 1 if are_layers(labels) else labels != ignore_index
    return there.flatten(1).any(1).sum().float()


class Regions(NamedTuple):
    """Sums over the valid pixels of each image and class, (B, K) float32.

    `overlap` sums the probability where the class is present, `predicted` the probability everywhere, `extent` the
    truth.
    """

    overlap: Tensor
    predicted: Tensor
    extent: Tensor


def regions(logits: Tensor, labels: Tensor, ignore_index: int) -> Regions:
    """Sum the probabilities of logits (B, K, H, W), and the truth, over each class, for labels of either kind."""
    there, valid = truth_of(labels, logits.shape[1], ignore_index)
    predicted = probabilities(logits, labels) * valid
    return Regions((predicted * there).sum((2, 3)), predicted.sum((2, 3)), there.sum((2, 3)).float())


def sum_of_means(losses: Tensor, counted: Tensor) -> Tensor:
    """Average losses (B, K) over the classes of each image that are `counted` (B, K) bool, and sum over the images."""
    per_image = torch.where(counted, losses, 0.0).sum(1) / counted.sum(1).clamp(min=1)
    return per_image.sum()
