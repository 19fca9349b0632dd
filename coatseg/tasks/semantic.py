"""Semantic segmentation: one class number a pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from coatseg.data.batching import stack_labels
from coatseg.inference.augment import SOFTMAX
from coatseg.inference.inference import WHOLE, Inference
from coatseg.losses.semantic import WeightedSum
from coatseg.metrics.boundary import DISTANCE, BoundaryCounts
from coatseg.metrics.confusion import ConfusionMatrix, SemanticScores, semantic_scores, with_boundaries
from coatseg.schema import legal
from coatseg.structures import Batch, DatasetInfo, Outputs, SemanticPrediction, Target
from coatseg.tasks.base import Task

BoundaryOption = Annotated[
    bool | Annotated[float, Gt(0), Lt(1)],
    legal("Give true, false, or a distance as a share of the image's diagonal, above 0 and below 1"),
]


class SemanticTask(Task):
    """Trains logits (B, classes, H, W) against label maps, and predicts the most probable class of each pixel.

    `boundary_iou` measures that too: true at the distance of the paper, a number at that share of the diagonal.
    """

    monitor = "val/mIoU"
    needs = "semantic"
    activation = SOFTMAX

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
        boundary_iou: BoundaryOption = False,
    ) -> None:
        super().__init__(model, info, optimizer=optimizer, schedule=schedule, seed=seed, inference=inference)
        self.loss = loss
        self.auxiliary_weight = auxiliary_weight
        self.confusion = ConfusionMatrix(len(info.classes), info.ignore_index)
        distance = DISTANCE if boundary_iou is True else boundary_iou
        self.boundaries = BoundaryCounts(len(info.classes), info.ignore_index, distance) if distance else None

    def labels(self, target: Target) -> Tensor:
        """Give the truth that this task learns from."""
        if target.label_map is None:
            raise ValueError("the batch has no label maps")
        return target.label_map

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Give the losses by name, each normalised over the whole optimizer step; the auxiliary head's as one sum."""
        ignore = self.info.ignore_index
        height, width = batch.images.shape[-2:]
        labels = stack_labels([self.labels(target) for target in batch.targets], (height, width), ignore)
        step_maps = [self.labels(target) for target in batch.step_targets]
        largest = max(rows.shape[-2] for rows in step_maps), max(rows.shape[-1] for rows in step_maps)
        step_labels = stack_labels(step_maps, largest, ignore)
        weights = {
            name: self.step_total(weight) / self.shares for name, weight in self.loss.weights(step_labels).items()
        }
        outputs: Outputs = self.model(batch.images)
        losses: dict[str, Tensor] = self.loss(outputs.logits, labels, weights)
        if outputs.auxiliary is not None:
            auxiliary = self.loss(outputs.auxiliary, labels, weights)
            losses["auxiliary"] = self.auxiliary_weight * torch.stack(list(auxiliary.values())).sum()
        return losses

    def predict(self, batch: Batch) -> list[SemanticPrediction]:
        """Predict every image at its original size.

        Images of one size go through the model together; others go alone, so that padding reaches no prediction.
        """
        if len(set(batch.sizes)) == 1:
            height, width = batch.sizes[0]
            logits = list(self.infer(batch.images[..., :height, :width]))
        else:
            rows = zip(batch.images, batch.sizes, strict=True)
            logits = [self.infer(image[None, :, :height, :width])[0] for image, (height, width) in rows]
        return [
            decode(image_logits, size, image_id)
            for image_logits, size, image_id in zip(logits, batch.original_sizes, batch.ids, strict=True)
        ]

    def reset_scores(self) -> None:
        """Empty the confusion matrix, and the counts of boundaries."""
        self.confusion.reset()
        if self.boundaries is not None:
            self.boundaries.reset()

    def score(self, predictions: list[SemanticPrediction], batch: Batch) -> None:
        """Count the pixels of the images that are not repeated."""
        for prediction, target, repeated in zip(predictions, batch.targets, batch.repeated, strict=True):
            if not repeated and target.label_map is not None:
                self.confusion.update(prediction.label_map, target.label_map)
                if self.boundaries is not None:
                    self.boundaries.update(prediction.label_map, target.label_map)

    def scores(self) -> SemanticScores:
        """Give the scores over all processes."""
        scores = semantic_scores(self.step_total(self.confusion.counts.clone()).cpu(), self.info.classes)
        if self.boundaries is None:
            return scores
        return with_boundaries(
            scores, self.step_total(self.boundaries.counts.clone()).cpu(), self.boundaries.definition
        )


def decode(logits: Tensor, size: tuple[int, int], image_id: str) -> SemanticPrediction:
    """Turn logits (K, h, w) into the prediction at `size`; they are resized before the class is chosen."""
    if tuple(logits.shape[-2:]) != size:
        logits = functional.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
    scores, label_map = logits.softmax(0).max(0)
    return SemanticPrediction(image_id, label_map, scores)
