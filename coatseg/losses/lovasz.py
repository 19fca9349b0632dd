"""The Lovasz losses, which optimise the Jaccard index itself."""

from __future__ import annotations

import torch
from torch import Tensor

from coatseg.losses.base import SemanticLoss
from coatseg.losses.labels import are_layers, images_with_truth, truth_of
from coatseg.registry.names import register
from coatseg.structures import DatasetInfo


@register("loss", "lovasz")
class Lovasz(SemanticLoss):
    """The Lovasz extension of the Jaccard loss, averaged over the classes of an image, summed over images.

    Berman et al., 2018: over class numbers the Lovasz-softmax (section 3.2) of the classes present in the image; over
    layers the Lovasz hinge (section 3.1) of every class with valid pixels, present or not, so that an image without
    the class costs its worst false positive. It is taken per image, not per batch, so that it adds up over processes
    and accumulated parts.
    """

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__()
        self.ignore_index = info.ignore_index

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss summed over the images that have valid pixels."""
        # Image by image: sorting takes much memory, and an image shows few of many classes.
        return torch.stack([self._of_image(*image) for image in zip(logits, labels, strict=True)]).sum()

    def weight(self, labels: Tensor) -> Tensor:
        """Count the images that have valid pixels."""
        return images_with_truth(labels, self.ignore_index)

    def _of_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        there, valid = (part[0].flatten(1) for part in truth_of(labels[None], len(logits), self.ignore_index))
        if are_layers(labels[None]):
            counted = valid.any(1)
            errors = (1 - torch.where(there, logits.flatten(1), -logits.flatten(1))).relu()
        else:
            counted = there.any(1)
            errors = (there.float() - logits.softmax(0).flatten(1)).abs()
        # An error of zero adds nothing wherever it is sorted to: that leaves out what is ignored.
        errors, there = torch.where(valid, errors, 0.0)[counted], there[counted]
        return lovasz_extension(errors, there).sum() / counted.sum().clamp(min=1)


def lovasz_extension(errors: Tensor, there: Tensor) -> Tensor:
    """Return the Lovasz extension (K,) of the Jaccard loss at errors (K, N) >= 0; `there` marks each class's pixels.

    It sums the errors in falling order, each times what its pixel adds to the Jaccard loss (Berman et al., 2018,
    equation 9 and algorithm 1). With I and U the intersection and union once it is wrong too, a pixel of the class adds
    1 / U, any other I / (U (U - 1)): the differences in closed form, as subtracting near numbers would lose digits.
    """
    errors, order = errors.sort(dim=1, descending=True)
    there = there.gather(1, order)
    extent = there.sum(1, keepdim=True)
    wrong = there.cumsum(1)
    intersection = extent - wrong
    union = (extent + torch.arange(1, there.shape[1] + 1, device=there.device) - wrong).float()
    added = torch.where(there, 1 / union, intersection / (union * (union - 1).clamp(min=1)))
    # Where the class is absent, the first false positive costs the whole index, and the others nothing more.
    added[:, :1] = torch.where(extent == 0, 1.0, added[:, :1])
    return (errors * added).sum(1)
