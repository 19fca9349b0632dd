"""Losses of semantic segmentation, as sums with their normalisers.

A loss gives the sum over what it counts (pixels, images), and `weight` says how much it counted. Who trains divides
the one by the total of the other over the whole optimizer step, so neither the number of processes nor accumulation
changes the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from coatseg.errors import ConfigError
from coatseg.structures import DatasetInfo


class SemanticLoss(nn.Module):
    """What every semantic loss offers: logits (B, K, H, W) float32 and labels (B, H, W) int64 to a sum."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the loss, summed over all that counts."""
        raise NotImplementedError

    def weight(self, labels: Tensor) -> Tensor:
        """Give what the sum over these labels is to be divided by, a float32 scalar; computed where the labels are."""
        raise NotImplementedError


class CrossEntropy(SemanticLoss):
    """Cross entropy over the pixels that are not ignored.

    With `class_weights`, one a class, it is the weighted mean of torch.nn.functional.cross_entropy; `smoothing` mixes
    the target with the uniform distribution, as its label_smoothing does.
    """

    def __init__(
        self, info: DatasetInfo, *, class_weights: Sequence[float] | None = None, smoothing: float = 0.0
    ) -> None:
        super().__init__()
        classes = len(info.classes)
        if class_weights is not None and len(class_weights) != classes:
            raise ConfigError(
                f"loss.cross_entropy.class_weights has {len(class_weights)} entries for {classes} classes.",
                f"Give one for each of: {', '.join(info.classes)}.",
            )
        if not 0 <= smoothing < 1:
            raise ConfigError(f"loss.cross_entropy.smoothing={smoothing} is not in [0, 1).", "Usual values: 0 to 0.1.")
        self.ignore_index = info.ignore_index
        self.smoothing = smoothing
        self.class_weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the sum over valid pixels."""
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        return functional.cross_entropy(
            logits, labels, weights, ignore_index=self.ignore_index, reduction="sum", label_smoothing=self.smoothing
        )

    def weight(self, labels: Tensor) -> Tensor:
        """Count the valid pixels, each by its class weight."""
        valid = labels[labels != self.ignore_index]
        if self.class_weights is None:
            return torch.tensor(float(valid.numel()), device=labels.device)
        return self.class_weights.to(labels.device)[valid].sum()


class Dice(SemanticLoss):
    """One minus the soft Dice coefficient of each class present in an image, averaged per image, summed over images.

    Per image and class, with probabilities p and one-hot truth t over the valid pixels: 1 - (2 sum(p t) + smooth) /
    (sum(p) + sum(t) + smooth) (Milletari et al., V-Net, 2016, without their squares). Classes that an image does not
    show are left out of its mean; an image without valid pixels counts nothing.
    """

    def __init__(self, info: DatasetInfo, *, smooth: float = 1.0) -> None:
        super().__init__()
        self.ignore_index = info.ignore_index
        self.smooth = smooth

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the sum over images that have valid pixels."""
        valid = (labels != self.ignore_index).unsqueeze(1)
        probabilities = logits.softmax(1) * valid
        classes = torch.where(valid.squeeze(1), labels, 0)
        truth = functional.one_hot(classes, logits.shape[1]).permute(0, 3, 1, 2) * valid
        overlap = (probabilities * truth).sum((2, 3))
        extent = truth.sum((2, 3))
        dice = (2 * overlap + self.smooth) / (probabilities.sum((2, 3)) + extent + self.smooth)
        present = extent > 0
        per_image = ((1 - dice) * present).sum(1) / present.sum(1).clamp(min=1)
        return per_image.sum()

    def weight(self, labels: Tensor) -> Tensor:
        """Count the images that have valid pixels."""
        return (labels != self.ignore_index).flatten(1).any(1).sum().float()


class WeightedSum(nn.Module):
    """Several losses by name, each with its factor."""

    def __init__(self, losses: Mapping[str, SemanticLoss], factors: Mapping[str, float]) -> None:
        super().__init__()
        self.losses = nn.ModuleDict(losses)
        self.factors = dict(factors)

    def forward(self, logits: Tensor, labels: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give each loss times its factor, divided by its entry of `weights`."""
        return {
            name: self.factors[name] * loss(logits, labels) / weights[name].clamp(min=1e-12)
            for name, loss in self.losses.items()
        }

    def weights(self, labels: Tensor) -> dict[str, Tensor]:
        """Give each loss's `weight` of these labels."""
        return {name: cast(SemanticLoss, loss).weight(labels) for name, loss in self.losses.items()}
