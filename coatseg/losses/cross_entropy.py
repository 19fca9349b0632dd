"""Cross entropy, with weights by class and by distance from a boundary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.errors import ConfigError
from coatseg.losses.base import SemanticLoss, per_class
from coatseg.losses.labels import are_layers, truth_of
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeFloat, PositiveFloat, PositiveInt
from coatseg.structures import DatasetInfo


@register("loss", "cross_entropy")
class CrossEntropy(SemanticLoss):
    """Cross entropy over the pixels that are not ignored; binary cross entropy over those of every layer.

    With `class_weights`, one a class, it is the weighted mean of torch.nn.functional.cross_entropy; over layers they
    are the `pos_weight` of its binary_cross_entropy_with_logits: the weight of a pixel where the class is present.
    `smoothing` mixes the target with the uniform distribution (over present and absent, for a layer), as torch's
    label_smoothing does.

    Pixels with another label at most `boundary_distance` rows and columns away weigh `boundary_weight`, others 1; the
    mean is the weighted one.
    """

    def __init__(
        self,
        info: DatasetInfo,
        *,
        class_weights: Sequence[NonNegativeFloat] | None = None,
        smoothing: float = 0.0,
        boundary_weight: PositiveFloat = 1.0,
        boundary_distance: PositiveInt = 3,
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ConfigError(f"loss.cross_entropy.smoothing={smoothing} is not in [0, 1).", "Usual values: 0 to 0.1.")
        self.ignore_index = info.ignore_index
        self.smoothing = smoothing
        self.class_weights = (
            None if class_weights is None else per_class(class_weights, info, "loss.cross_entropy.class_weights")
        )
        self.boundary_weight = boundary_weight
        self.boundary_distance = boundary_distance

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the cross entropy summed over valid pixels, each times its weight."""
        weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        losses = pixel_cross_entropy(logits, labels, self.ignore_index, weights, self.smoothing)
        return (losses * self._nearness(labels)).sum()

    def weight(self, labels: Tensor) -> Tensor:
        """Sum the weights of the valid pixels: by class, unless labels are layers, and by distance from a boundary."""
        valid = labels != self.ignore_index
        weights = torch.ones((), device=labels.device)
        if self.class_weights is not None and not are_layers(labels):
            weights = self.class_weights.to(labels.device)[torch.where(valid, labels, 0)]
        return (valid * weights * self._nearness(labels)).sum()

    def _nearness(self, labels: Tensor) -> Tensor:
        """Return pixel weights by distance from a boundary, in the shape of the labels or as one number for all."""
        one = torch.ones((), device=labels.device)
        if self.boundary_weight == 1:
            return one
        return torch.where(
            near_boundary(labels, self.ignore_index, self.boundary_distance), self.boundary_weight * one, one
        )


def pixel_cross_entropy(
    logits: Tensor, labels: Tensor, ignore_index: int, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the cross entropy of each pixel, in the shape of the labels; 0 where they are ignored."""
    if not are_layers(labels):
        return functional.cross_entropy(
            logits, labels, class_weights, ignore_index=ignore_index, reduction="none", label_smoothing=smoothing
        )
    there, valid = truth_of(labels, logits.shape[1], ignore_index)
    losses = functional.binary_cross_entropy_with_logits(
        logits,
        there * (1 - smoothing) + smoothing / 2,
        pos_weight=None if class_weights is None else class_weights.view(-1, 1, 1),
        reduction="none",
    )
    return torch.where(valid, losses, 0.0)


def near_boundary(labels: Tensor, ignore_index: int, distance: int) -> Tensor:
    """Mark the pixels that have another label at most `distance` rows and columns away.

    Takes labels (B, H, W), or layers (B, K, H, W), each of which has its own boundaries; returns a bool tensor of their
    shape. Ignored pixels are never marked and make no boundary, and neither does the edge of the image.
    """
    maps = labels if are_layers(labels) else labels.unsqueeze(1)
    known, numbers = maps != ignore_index, maps.float()
    highest = _highest_around(numbers.masked_fill(~known, -torch.inf), distance)
    lowest = -_highest_around((-numbers).masked_fill(~known, -torch.inf), distance)
    return (known & (highest > lowest)).view_as(labels)


def _highest_around(maps: Tensor, distance: int) -> Tensor:
    """Return the maximum over the window of 2 * distance + 1 rows and columns around each pixel."""
    window = 2 * distance + 1
    rows = functional.max_pool2d(maps, (1, window), stride=1, padding=(0, distance))
    return functional.max_pool2d(rows, (window, 1), stride=1, padding=(distance, 0))
