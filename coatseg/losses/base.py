"""What every loss of dense prediction keeps to, and the sum of several.

A loss gives the sum over what it counts (pixels, images), and `weight` says how much it counted. Who trains divides
the one by the total of the other over the whole optimizer step, so neither the number of processes nor accumulation
changes the gradient. A weight is therefore computed from labels only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from coatseg.errors import ConfigError
from coatseg.structures import DatasetInfo


class SemanticLoss(nn.Module):
    """What every loss offers: logits (B, K, H, W) float32 and labels to a sum, for labels of both kinds.

    Labels are class numbers (B, H, W) int64, whose logits go through softmax, or layers (B, K, H, W) uint8, 1 where
    a class is and 0 where it is not, whose logits go through a sigmoid each. Both hold the ignore index where
    nothing is known.
    """

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the loss, summed over all that counts."""
        raise NotImplementedError

    def weight(self, labels: Tensor) -> Tensor:
        """Give what the sum over these labels is to be divided by, a float32 scalar; computed where the labels are."""
        raise NotImplementedError


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


def per_class(values: Sequence[float], info: DatasetInfo, key: str) -> Tensor:
    """Give one float32 number a class, as a tensor; `key` is how the configuration calls them.

    Raises:
        ConfigError: there are more or fewer than classes.
    """
    classes = len(info.classes)
    if len(values) != classes:
        raise ConfigError(
            f"{key} has {len(values)} entries for {classes} classes.",
            f"Give one for each of: {', '.join(info.classes)}.",
        )
    return torch.tensor(values, dtype=torch.float32)
