"""The base of tasks that predict a logit of each class at every pixel."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Required, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from coatseg.data.loading.batching import stack_labels
from coatseg.losses.base import WeightedSum
from coatseg.structures import LOGITS, Batch, DatasetInfo, Outputs, Size, Target
from coatseg.tasks.base import Task
from coatseg.tasks.finite_outputs import not_finite
from coatseg.tasks.inference.options import WHOLE, Inference
from coatseg.tasks.inference.views import Activation

UNKNOWN = -1
"""What stands in a label map for an unknown class, whatever the dataset's ignore index, for a head with own losses."""


class Given(TypedDict, total=False):
    """The arguments of every dense task besides its own options; see Task and DenseTask."""

    optimizer: Required[Callable[[nn.Module], Optimizer]]
    schedule: Required[Callable[[int], float]]
    seed: int
    auxiliary_weight: float
    inference: Inference


class DenseTask(Task):
    """Trains logits (B, classes, H, W) against label maps or layers; a subclass says which, and decodes the logits."""

    takes = LOGITS

    activation: Activation
    """How its logits become probabilities."""

    def __init__(
        self,
        model: nn.Module,
        info: DatasetInfo,
        loss: WeightedSum,
        *,
        optimizer: Callable[[nn.Module], Optimizer],
        schedule: Callable[[int], float],
        seed: int = 0,
        auxiliary_weight: float = 0.0,
        inference: Inference = WHOLE,
    ) -> None:
        super().__init__(model, info, optimizer=optimizer, schedule=schedule, seed=seed, inference=inference)
        self.loss = loss
        self.auxiliary_weight = auxiliary_weight

    @abstractmethod
    def labels(self, target: Target) -> Tensor:
        """Return the labels that this task learns from."""

    @abstractmethod
    def decode(self, logits: Tensor, image_id: str) -> Any:
        """Return the prediction of one image from its logits (K, H, W) at its original size."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses by name, each normalised over the whole optimizer step; the auxiliary head's as one sum.

        A head that brings losses of its own is trained by these, which it normalises itself.
        """
        ignore = self.info.ignore_index
        if getattr(self.model, "brings_losses", False):
            maps = [self.labels(target) for target in batch.targets]
            known = [labels.masked_fill(labels == ignore, UNKNOWN) for labels in maps]
            own: dict[str, Tensor] = self.model(batch.images, batch.padded_sizes, known)
            return own
        height, width = batch.images.shape[-2:]
        labels = stack_labels([self.labels(target) for target in batch.targets], (height, width), ignore)
        step_maps = [self.labels(target) for target in batch.step_targets]
        largest = max(rows.shape[-2] for rows in step_maps), max(rows.shape[-1] for rows in step_maps)
        step_labels = stack_labels(step_maps, largest, ignore)
        weights = {
            name: self.step_total(weight) / self.shares for name, weight in self.loss.weights(step_labels).items()
        }
        outputs: Outputs = self.model(batch.images, batch.padded_sizes)
        losses: dict[str, Tensor] = self.loss(outputs.logits, labels, weights)
        if outputs.auxiliary is not None:
            auxiliary = self.loss(outputs.auxiliary, labels, weights)
            losses["auxiliary"] = self.auxiliary_weight * torch.stack(list(auxiliary.values())).sum()
        return losses

    def predict(self, batch: Batch) -> list[Any]:
        """Return the prediction of every image at its original size; padding reaches none of them.

        Raises:
            ImageError: logits are not finite, of which an arbitrary class would be the greatest.
        """
        predictions = []
        for logits, size, image_id in zip(self._logits(batch), batch.original_sizes, batch.ids, strict=True):
            if not logits.isfinite().all():
                raise not_finite(image_id)
            predictions.append(self.decode(at_size(logits, size), image_id))
        return predictions

    def infer(self, images: Tensor) -> Tensor:
        """Return the logits (B, K, H, W) of images (B, C, H, W) without padding, as the inference options say."""
        return self.inference(lambda seen: self.model(seen).logits, images, self.activation)

    def _logits(self, batch: Batch) -> list[Tensor]:
        """Return the logits (K, h, w) of every image at its size in the batch.

        Images of several sizes go through the model together, with their sizes. Windows and views cannot tell padding
        from image: with them, each image goes alone.
        """
        if len(set(batch.sizes)) == 1:
            height, width = batch.sizes[0]
            return list(self.infer(batch.images[..., :height, :width]))
        if self.inference.plain:
            rows = zip(self.model(batch.images, batch.sizes).logits, batch.sizes, strict=True)
            return [logits[:, :height, :width] for logits, (height, width) in rows]
        rows = zip(batch.images, batch.sizes, strict=True)
        return [self.infer(image[None, :, :height, :width])[0] for image, (height, width) in rows]


def at_size(logits: Tensor, size: Size) -> Tensor:
    """Return logits (K, h, w) resized bilinearly to `size`, before anything is decided from them."""
    if tuple(logits.shape[-2:]) == size:
        return logits
    return functional.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
