"""Semantic segmentation: one class number a pixel."""

from __future__ import annotations

from typing import Annotated, Unpack

from annotated_types import Gt, Lt
from torch import Tensor, nn

from coatseg.losses.base import WeightedSum
from coatseg.metrics.boundary import DISTANCE, BoundaryCounts
from coatseg.metrics.confusion import ConfusionMatrix, SemanticScores, semantic_scores, with_boundaries
from coatseg.registry.names import register
from coatseg.registry.options import legal
from coatseg.structures import Batch, DatasetInfo, SemanticPrediction, Target
from coatseg.tasks.dense import DenseTask, Given
from coatseg.tasks.inference.views import SOFTMAX

BoundaryOption = Annotated[
    bool | Annotated[float, Gt(0), Lt(1)],
    legal("Give true, false, or a distance as a share of the image's diagonal, above 0 and below 1"),
]


@register("task", "semantic")
class SemanticTask(DenseTask):
    """Trains logits (B, classes, H, W) against label maps, and predicts the most probable class of each pixel.

    `boundary_iou` adds the boundary IoU: true at the distance of the paper, a number at that share of the diagonal.
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
        boundary_iou: BoundaryOption = False,
        **given: Unpack[Given],
    ) -> None:
        super().__init__(model, info, loss, **given)
        self.confusion = ConfusionMatrix(len(info.classes), info.ignore_index)
        distance = DISTANCE if boundary_iou is True else boundary_iou
        self.boundaries = BoundaryCounts(len(info.classes), info.ignore_index, distance) if distance else None

    def labels(self, target: Target) -> Tensor:
        """Return the label map of a target."""
        if target.label_map is None:
            raise ValueError("the batch has no label maps")
        return target.label_map

    def decode(self, logits: Tensor, image_id: str) -> SemanticPrediction:
        """Return the most probable class of each pixel, by the logits, whose order no rounding can change."""
        return SemanticPrediction(image_id, logits.argmax(0), logits.softmax(0).amax(0))

    def reset_scores(self) -> None:
        """Set the confusion matrix and the counts of boundaries to zero."""
        self.confusion.reset()
        if self.boundaries is not None:
            self.boundaries.reset()

    def score(self, predictions: list[SemanticPrediction], batch: Batch) -> None:
        """Count the pixels of all images but repeated ones."""
        for prediction, target, repeated in zip(predictions, batch.targets, batch.repeated, strict=True):
            if not repeated and target.label_map is not None:
                self.confusion.update(prediction.label_map, target.label_map)
                if self.boundaries is not None:
                    self.boundaries.update(prediction.label_map, target.label_map)

    def scores(self) -> SemanticScores:
        """Return the scores over all processes."""
        scores = semantic_scores(self.step_total(self.confusion.counts.clone()).cpu(), self.info.classes)
        if self.boundaries is None:
            return scores
        return with_boundaries(
            scores, self.step_total(self.boundaries.counts.clone()).cpu(), self.boundaries.definition
        )
