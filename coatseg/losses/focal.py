"""The focal loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from coatseg.losses.base import SemanticLoss, per_class
from coatseg.losses.cross_entropy import pixel_cross_entropy
from coatseg.losses.labels import are_layers
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeFloat, Share
from coatseg.structures import DatasetInfo


@register("loss", "focal")
class Focal(SemanticLoss):
    """Cross entropy times (1 - p) ** gamma, with p the probability of the truth, over the pixels that are not ignored.

    Lin et al., 2017, equation 5. `alpha`, one per class or one number for all, balances: over layers, pixels of the
    class weigh alpha and others 1 - alpha, as in the paper; over class numbers, a pixel weighs its class's alpha. The
    mean is over pixels, whatever their alpha.
    """

    def __init__(
        self, info: DatasetInfo, *, gamma: NonNegativeFloat = 2.0, alpha: Share | Sequence[Share] | None = None
    ) -> None:
        super().__init__()
        self.ignore_index = info.ignore_index
        self.gamma = gamma
        alphas = [alpha] * len(info.classes) if isinstance(alpha, int | float) else alpha
        self.alpha = None if alphas is None else per_class(alphas, info, "loss.focal.alpha")

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the focal loss summed over valid pixels."""
        surprise = pixel_cross_entropy(logits, labels, self.ignore_index)
        # 1 - exp(-x) without cancellation. A power between 0 and 1 has an infinite slope at 0.
        losses = (-torch.expm1(-surprise)).clamp(min=1e-7) ** self.gamma * surprise
        return losses.sum() if self.alpha is None else (losses * self._balance(labels, self.alpha)).sum()

    def weight(self, labels: Tensor) -> Tensor:
        """Count the valid pixels, of every layer."""
        return (labels != self.ignore_index).sum().float()

    def _balance(self, labels: Tensor, alpha: Tensor) -> Tensor:
        alpha = alpha.to(labels.device)
        if not are_layers(labels):
            return alpha[torch.where(labels == self.ignore_index, 0, labels)]
        alpha = alpha.view(-1, 1, 1)
        return torch.where(labels == 1, alpha, 1 - alpha)
