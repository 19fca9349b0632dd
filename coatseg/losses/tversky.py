"""The Tversky loss and its focal form."""

from __future__ import annotations

from torch import Tensor

from coatseg.losses.base import SemanticLoss
from coatseg.losses.labels import images_with_a_class, regions, sum_of_means
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeFloat, PositiveFloat
from coatseg.structures import DatasetInfo


@register("loss", "tversky")
class Tversky(SemanticLoss):
    """The Tversky loss, (1 - soft index) ** gamma, of each class present in an image, averaged per image, then summed.

    Per image and class, with the soft counts TP = sum(p t), FP = sum(p (1 - t)) and FN = sum((1 - p) t) over the valid
    pixels, the index is (TP + smooth) / (TP + alpha FP + beta FN + smooth) (Salehi et al., 2017, equation 2; their best
    values were alpha 0.3 and beta 0.7). `gamma` is the exponent that Abraham and Khan, 2019, write as 1 / gamma; theirs
    was 0.75. Classes that an image does not show are left out, as in Dice, which is alpha = beta = 0.5.
    """

    def __init__(
        self,
        info: DatasetInfo,
        *,
        alpha: PositiveFloat = 0.3,
        beta: PositiveFloat = 0.7,
        gamma: PositiveFloat = 1.0,
        smooth: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__()
        self.ignore_index = info.ignore_index
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.smooth = smooth

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss summed over the images that show a class."""
        overlap, predicted, extent = regions(logits, labels, self.ignore_index)
        missed = self.alpha * (predicted - overlap) + self.beta * (extent - overlap)
        # missed / total is 1 - index without its rounding. An exponent below 1 has an infinite slope at 0.
        total = (overlap + missed + self.smooth).clamp(min=1e-12)
        return sum_of_means((missed / total).clamp(min=1e-7) ** self.gamma, extent > 0)

    def weight(self, labels: Tensor) -> Tensor:
        """Count the images that show a class."""
        return images_with_a_class(labels, self.ignore_index)
