"""The base class of the losses of dense prediction, and the weighted sum of several.

A loss returns the sum over what it counts (pixels or images), and its `weight` returns how much it counted. Training
divides the one by the total of the other over the whole optimizer step, so neither the number of processes nor
accumulation changes the gradient. A weight is therefore computed from labels only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from coatseg.errors import ConfigError
from coatseg.structures import DatasetInfo


class SemanticLoss(nn.Module):
    """The base class of losses, which map logits (B, K, H, W) float32 and labels of either kind to a sum.

    Labels are class numbers (B, H, W) int64, whose logits go through softmax, or layers (B, K, H, W) uint8, 1 where
    a class is present and 0 where it is not, whose logits go through a sigmoid each. Both hold the ignore index where
    the truth is unknown.
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, summed over the pixels or images that it counts."""
        raise NotImplementedError

    def weight(self, labels: Tensor) -> Tensor:
        """Return what the sum over these labels is to be divided by, a float32 scalar on the labels' device."""
        raise NotImplementedError


class WeightedSum(nn.Module):
    """Several losses by name, each with its factor."""

    def __init__(self, losses: Mapping[str, SemanticLoss], factors: Mapping[str, float]) -> None:
        super().__init__()
        self.losses = nn.ModuleDict(losses)
        self.factors = dict(factors)

    def forward(self, logits: Tensor, labels: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each loss times its factor, divided by its entry of `weights`."""
        return {
            name: self.factors[name] * loss(logits, labels) / weights[name].clamp(min=1e-12)
            for name, loss in self.losses.items()
        }

    def weights(self, labels: Tensor) -> dict[str, Tensor]:
        """Return each loss's `weight` of these labels."""
        return {name: cast(SemanticLoss, loss).weight(labels) for name, loss in self.losses.items()}


def per_class(values: Sequence[float], info: DatasetInfo, key: str) -> Tensor:
    """Return one float32 number per class as a tensor; `key` is their name in the configuration.

    Raises:
        ConfigError: there are more or fewer numbers than classes.
    """
    classes = len(info.classes)
    if len(values) != classes:
        raise ConfigError(
            f"{key} has {len(values)} entries for {classes} classes.",
            f"Give one for each of: {', '.join(info.classes)}.",
        )
    return torch.tensor(values, dtype=torch.float32)
