"""Cross entropy of the hard pixels (OHEM, online hard example mining)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coatseg.losses.base import SemanticLoss
from coatseg.losses.cross_entropy import pixel_cross_entropy
from coatseg.losses.labels import images_with_truth
from coatseg.registry.names import register
from coatseg.registry.options import PositiveShare
from coatseg.structures import DatasetInfo


@register("loss", "ohem")
class OhemCrossEntropy(SemanticLoss):
    """Cross entropy averaged over the hard pixels of each image, summed over images (online hard example mining).

    A pixel, of any layer, is hard if its truth has a probability below `threshold`; in any case the hardest share
    `min_kept` of the image's valid pixels counts as hard. The rule is that of Shrivastava et al., 2016, in the form
    common in segmentation, where 0.7 and 1/16 are usual; that form, however, selects and averages over a whole batch.
    How many pixels are hard depends on predictions, which no other process knows in time: with the mean per image the
    divisor is the number of images, so that the gradient is exact however a step is divided.
    """

    def __init__(self, info: DatasetInfo, *, threshold: PositiveShare = 0.7, min_kept: PositiveShare = 1 / 16) -> None:
        super().__init__()
        self.ignore_index = info.ignore_index
        self.threshold = threshold
        self.min_kept = min_kept

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss summed over the images that have valid pixels."""
        losses = pixel_cross_entropy(logits, labels, self.ignore_index).flatten(1)
        valid = (labels != self.ignore_index).flatten(1)
        found = losses.detach().masked_fill(~valid, -1.0)
        fewest = (self.min_kept * valid.sum(1, keepdim=True)).ceil().long()
        hardest = found.sort(1, descending=True).values.gather(1, (fewest - 1).clamp(min=0))
        kept = valid & ((found > -math.log(self.threshold)) | (found >= hardest))
        per_image = torch.where(kept, losses, 0.0).sum(1) / kept.sum(1).clamp(min=1)
        return per_image.sum()

    def weight(self, labels: Tensor) -> Tensor:
        """Count the images that have valid pixels."""
        return images_with_truth(labels, self.ignore_index)
