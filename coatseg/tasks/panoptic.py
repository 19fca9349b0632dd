"""Panoptic segmentation: every pixel belongs to a thing, or to a kind of stuff."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coatseg.metrics.panoptic import PanopticCounts, PanopticScores
from coatseg.models.heads.base import FoundSegments
from coatseg.registry.names import register
from coatseg.structures import Batch, DatasetInfo, PanopticPrediction, PanopticTarget, Size, Target
from coatseg.tasks.base import Task
from coatseg.tasks.finite_outputs import finite_outputs
from coatseg.tasks.inference.options import WHOLE, Inference


@register("task", "panoptic")
class PanopticTask(Task):
    """Trains a head that gives segments on the things and the stuff of a dataset, and predicts segments."""

    monitor = "val/PQ"
    needs = "panoptic"
    takes = "segments"

    def __init__(
        self,
        model: nn.Module,
        info: DatasetInfo,
        *,
        optimizer: Callable[[nn.Module], Optimizer],
        schedule: Callable[[int], float],
        seed: int = 0,
        inference: Inference = WHOLE,
    ) -> None:
        super().__init__(model, info, optimizer=optimizer, schedule=schedule, seed=seed, inference=inference)
        self.counts = PanopticCounts(info.classes, info.things)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the head's losses by name."""
        targets = [_truth(target) for target in batch.targets]
        losses: dict[str, Tensor] = self.model(batch.images, batch.padded_sizes, targets)
        return losses

    def predict(self, batch: Batch) -> list[PanopticPrediction]:
        """Return the segments of every image, at its original size.

        Raises:
            ImageError: the model gives nan or infinity.
        """
        with finite_outputs(self.model, batch.ids):
            found: list[FoundSegments] = self.model(batch.images, batch.padded_sizes)
        rows = zip(found, batch.sizes, batch.original_sizes, batch.ids, strict=True)
        return [_prediction(segments, size, original, name) for segments, size, original, name in rows]

    def reset_scores(self) -> None:
        """Forget the images scored so far."""
        self.counts.reset()

    def score(self, predictions: list[PanopticPrediction], batch: Batch) -> None:
        """Add the predictions to the counts, except those of repeated images."""
        for prediction, target, repeated in zip(predictions, batch.targets, batch.repeated, strict=True):
            if not repeated and target.panoptic is not None:
                self.counts.update(prediction, target.panoptic)

    def scores(self) -> PanopticScores:
        """Return the scores over all processes."""
        return self.counts.scores()


def _truth(target: Target) -> PanopticTarget:
    if target.panoptic is None:
        raise ValueError("the batch has no panoptic truth")
    return target.panoptic


def _prediction(found: FoundSegments, size: Size, original: Size, name: str) -> PanopticPrediction:
    segments = found.segments(size, original)
    return PanopticPrediction(name, segments.ids.to(torch.int32), segments.labels.cpu(), segments.scores.float().cpu())
