"""The Dice loss."""

from __future__ import annotations

from torch import Tensor

from coatseg.losses.base import SemanticLoss
from coatseg.losses.labels import images_with_a_class, regions, sum_of_means
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeFloat
from coatseg.structures import DatasetInfo


@register("loss", "dice")
class Dice(SemanticLoss):
    """One minus the soft Dice coefficient of each class present in an image, averaged per image, summed over images.

    Per image and class, with probabilities p and truth t over the valid pixels: 1 - (2 sum(p t) + smooth) /
    (sum(p) + sum(t) + smooth) (Milletari et al., V-Net, 2016, without their squares). Classes that an image does not
    show are left out of its mean; an image that shows none does not count.
    """

    def __init__(self, info: DatasetInfo, *, smooth: NonNegativeFloat = 1.0) -> None:
        super().__init__()
        self.ignore_index = info.ignore_index
        self.smooth = smooth

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss summed over the images that show a class."""
        overlap, predicted, extent = regions(logits, labels, self.ignore_index)
        # Without smoothing, a class that is neither present nor predicted would be 0 / 0.
        total = (predicted + extent + self.smooth).clamp(min=1e-12)
        return sum_of_means(1 - (2 * overlap + self.smooth) / total, extent > 0)

    def weight(self, labels: Tensor) -> Tensor:
        """Count the images that show a class."""
        return images_with_a_class(labels, self.ignore_index)
