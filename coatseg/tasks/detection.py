"""Object detection and instance segmentation: boxes of the things in an image, and masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coatseg.metrics.average_precision import CocoScores
from coatseg.metrics.coco import CocoCounts
from coatseg.models.heads.base import FoundObjects
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt
from coatseg.structures import Batch, DatasetInfo, InstancePrediction, InstanceTarget, Size, Target
from coatseg.tasks.base import Task
from coatseg.tasks.finite_outputs import finite_outputs
from coatseg.tasks.inference.options import WHOLE, Inference


@register("task", "detection")
class DetectionTask(Task):
    """Trains a detector on the things of a dataset, and predicts boxes.

    Crowds are no objects to learn. An image is scored by at most `max_detections` boxes, as in COCO's definition;
    further boxes of a head are ignored.
    """

    monitor = "val/box_AP"
    needs = "boxes"
    takes = "boxes"

    def __init__(
        self,
        model: nn.Module,
        info: DatasetInfo,
        *,
        optimizer: Callable[[nn.Module], Optimizer],
        schedule: Callable[[int], float],
        seed: int = 0,
        inference: Inference = WHOLE,
        max_detections: PositiveInt = 100,
    ) -> None:
        super().__init__(model, info, optimizer=optimizer, schedule=schedule, seed=seed, inference=inference)
        self.numbers = self.class_numbers(info)
        self.counts = CocoCounts(
            tuple(info.classes[number] for number in self.numbers),
            self.numbers,
            masks=self.takes == "masks",
            max_detections=max_detections,
        )

    @classmethod
    def class_numbers(cls, info: DatasetInfo) -> tuple[int, ...]:
        """Return the things' class numbers, or all where a dataset tells no things apart; a head counts them from 0."""
        return info.things or tuple(range(len(info.classes)))

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the detector's losses by name, each a mean over the regions that it counts in the batch."""
        targets = [self._truth(target) for target in batch.targets]
        losses: dict[str, Tensor] = self.model(batch.images, batch.padded_sizes, targets)
        return losses

    def predict(self, batch: Batch) -> list[InstancePrediction]:
        """Return the objects found in every image, at its original size.

        Raises:
            ImageError: the model gives nan or infinity.
        """
        with finite_outputs(self.model, batch.ids):
            found: list[FoundObjects] = self.model(batch.images, batch.padded_sizes)
        rows = zip(found, batch.sizes, batch.original_sizes, batch.ids, strict=True)
        return [self._prediction(objects, size, original, name) for objects, size, original, name in rows]

    def reset_scores(self) -> None:
        """Forget the images scored so far."""
        self.counts.reset()

    def score(self, predictions: list[InstancePrediction], batch: Batch) -> None:
        """Add the predictions to the counts, except those of repeated images."""
        for prediction, target, repeated in zip(predictions, batch.targets, batch.repeated, strict=True):
            if not repeated and target.instances is not None:
                self.counts.update(prediction, target.instances)

    def scores(self) -> CocoScores:
        """Return the scores over all processes."""
        return self.counts.scores()

    def _truth(self, target: Target) -> InstanceTarget:
        """Return the objects, crowds among them, numbered as the head numbers them."""
        truth = target.instances
        if truth is None:
            raise ValueError("the batch has no instances")
        places = {number: place for place, number in enumerate(self.numbers)}
        labels = [places[number] for number in truth.labels.tolist()]
        return replace(truth, labels=torch.tensor(labels, dtype=torch.int64, device=truth.labels.device))

    def _prediction(self, found: FoundObjects, size: Size, original: Size, name: str) -> InstancePrediction:
        objects = found.objects(size, original)
        labels = torch.tensor(self.numbers)[objects.labels.cpu()]
        masks = None if objects.masks is None else objects.masks.cpu()
        return InstancePrediction(name, original, objects.boxes.cpu(), labels, objects.scores.float().cpu(), masks)


@register("task", "instance")
class InstanceTask(DetectionTask):
    """Trains a detector with masks, and predicts boxes and masks."""

    monitor = "val/mask_AP"
    needs = "instances"
    takes = "masks"
