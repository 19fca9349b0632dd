"""Object detection and instance segmentation: boxes of the things in an image, and masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coatseg.metrics.average_precision import CocoScores
from coatseg.metrics.coco import CocoCounts
from coatseg.models.heads.detection.base import Detections
from coatseg.models.heads.detection.regions import paste_masks
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt
from coatseg.structures import Batch, DatasetInfo, InstancePrediction, InstanceTarget, Size, Target
from coatseg.tasks.base import Task
from coatseg.tasks.finite_outputs import finite_outputs
from coatseg.tasks.inference.options import WHOLE, Inference


@register("task", "detection")
class DetectionTask(Task):
    """Trains a detector on the things of a dataset, and predicts boxes.

    Crowds are left out of the training. An image is scored by at most `max_detections` boxes, as in COCO's definition;
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
            found: list[Detections] = self.model(batch.images, batch.padded_sizes)
        rows = zip(found, batch.sizes, batch.original_sizes, batch.ids, strict=True)
        return [self._prediction(detections, size, original, name) for detections, size, original, name in rows]

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
        """Return the objects to learn, numbered as the head numbers them, without crowds."""
        if target.instances is None:
            raise ValueError("the batch has no instances")
        kept = ~target.instances.crowd
        truth = target.instances.apply(lambda tensor: tensor[kept])
        places = {number: place for place, number in enumerate(self.numbers)}
        labels = [places[number] for number in truth.labels.tolist()]
        return replace(truth, labels=torch.tensor(labels, dtype=torch.int64, device=truth.labels.device))

    def _prediction(self, found: Detections, size: Size, original: Size, name: str) -> InstancePrediction:
        boxes = scaled_boxes(found.boxes, size, original)
        masks = None if found.masks is None else paste_masks(found.masks, boxes, original)
        labels = torch.tensor(self.numbers)[found.labels.cpu()]
        return InstancePrediction(name, original, boxes.cpu(), labels, found.scores.float().cpu(), masks)


@register("task", "instance")
class InstanceTask(DetectionTask):
    """Trains a detector with masks, and predicts boxes and masks."""

    monitor = "val/mask_AP"
    needs = "instances"
    takes = "masks"


def scaled_boxes(boxes: Tensor, size: Sequence[int], original: Sequence[int]) -> Tensor:
    """Return boxes (N, 4) of an image resized to `size` (height, width), scaled to its `original` size."""
    down, across = original[0] / size[0], original[1] / size[1]
    return boxes * boxes.new_tensor([across, down, across, down])
