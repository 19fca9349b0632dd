"""Semantic segmentation: one class number a pixel."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from coatseg.data.batching import stack_label_maps
from coatseg.losses.semantic import WeightedSum
from coatseg.metrics.confusion import ConfusionMatrix, SemanticScores, semantic_scores
from coatseg.structures import Batch, DatasetInfo, SemanticPrediction
from coatseg.tasks.base import Task


class SemanticTask(Task):
    """Trains logits (B, classes, H, W) against label maps, and predicts the most probable class of each pixel."""

    monitor = "val/mIoU"
    needs = "semantic"

    def __init__(
        self,
        model: nn.Module,
        info: DatasetInfo,
        loss: WeightedSum,
        *,
        optimizer: Callable[[nn.Module], Optimizer],
        schedule: Callable[[int], float],
        seed: int = 0,
    ) -> None:
        super().__init__(model, info, optimizer=optimizer, schedule=schedule, seed=seed)
        self.loss = loss
        self.confusion = ConfusionMatrix(len(info.classes), info.ignore_index)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the losses by name, each normalised over the whole optimizer step."""
        ignore = self.info.ignore_index
        labels = stack_label_maps(batch.targets, _size(batch.images), ignore)
        step_labels = stack_label_maps(batch.step_targets, _largest(batch), ignore)
        weights = {
            name: self.step_total(weight) / self.shares for name, weight in self.loss.weights(step_labels).items()
        }
        losses: dict[str, Tensor] = self.loss(self.model(batch.images), labels, weights)
        return losses

    def predict(self, batch: Batch) -> list[SemanticPrediction]:
        """Predict every image at its original size.

        Images of one size go through the model together; others go alone, so that padding reaches no prediction.
        """
        if len(set(batch.sizes)) == 1:
            height, width = batch.sizes[0]
            logits = list(self.model(batch.images[..., :height, :width]))
        else:
            rows = zip(batch.images, batch.sizes, strict=True)
            logits = [self.model(image[None, :, :height, :width])[0] for image, (height, width) in rows]
        return [
            decode(image_logits, size, image_id)
            for image_logits, size, image_id in zip(logits, batch.original_sizes, batch.ids, strict=True)
        ]

    def reset_scores(self) -> None:
        """Empty the confusion matrix."""
        self.confusion.reset()

    def score(self, predictions: list[SemanticPrediction], batch: Batch) -> None:
        """Count the pixels of the images that are not repeated."""
        for prediction, target, repeated in zip(predictions, batch.targets, batch.repeated, strict=True):
            if not repeated and target.label_map is not None:
                self.confusion.update(prediction.label_map, target.label_map)

    def scores(self) -> SemanticScores:
        """Give the scores over all processes."""
        return semantic_scores(self.step_total(self.confusion.counts.clone()).cpu(), self.info.classes)


def decode(logits: Tensor, size: tuple[int, int], image_id: str) -> SemanticPrediction:
    """Turn logits (K, h, w) into the prediction at `size`; they are resized before the class is chosen."""
    if tuple(logits.shape[-2:]) != size:
        logits = functional.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    scores, label_map = logits.softmax(0).max(0)
    return SemanticPrediction(image_id, label_map, scores)


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def _largest(batch: Batch) -> tuple[int, int]:
    """Give the size that holds every label map of the step."""
    maps = [target.label_map for target in batch.step_targets if target.label_map is not None]
    return max(int(label_map.shape[0]) for label_map in maps), max(int(label_map.shape[1]) for label_map in maps)
