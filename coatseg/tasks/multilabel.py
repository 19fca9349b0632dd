"""Binary and multilabel segmentation: each class is decided by itself at every pixel."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor, nn

from coatseg.losses.base import WeightedSum
from coatseg.metrics.multilabel import LayerCounts, LayerScores, layer_scores
from coatseg.registry.names import register
from coatseg.registry.options import Rate
from coatseg.structures import Batch, DatasetInfo, MultilabelPrediction, Target
from coatseg.tasks.dense import DenseTask, Given
from coatseg.tasks.inference.views import SIGMOID


@register("task", "multilabel")
class MultilabelTask(DenseTask):
    """Trains logits (B, classes, H, W), each through a sigmoid, against layers; with a single class it is binary.

    A pixel has the classes whose probability is above `threshold`.
    """

    monitor = "val/mIoU"
    needs = "multilabel"
    activation = SIGMOID

    def __init__(
        self,
        model: nn.Module,
        info: DatasetInfo,
        loss: WeightedSum,
        *,
        threshold: Rate = 0.5,
        **given: Unpack[Given],
    ) -> None:
        super().__init__(model, info, loss, **given)
        self.threshold = threshold
        self.counts = LayerCounts(len(info.classes), info.ignore_index)

    def labels(self, target: Target) -> Tensor:
        """Return the layers of a target."""
        if target.layers is None:
            raise ValueError("the batch has no layers")
        return target.layers

    def decode(self, logits: Tensor, image_id: str) -> MultilabelPrediction:
        """Return the classes of each pixel, those with a probability above the threshold."""
        scores = logits.sigmoid()
        return MultilabelPrediction(image_id, scores > self.threshold, scores)

    def reset_scores(self) -> None:
        """Set the counts to zero."""
        self.counts.reset()

    def score(self, predictions: list[MultilabelPrediction], batch: Batch) -> None:
        """Count the pixels of all images but repeated ones."""
        for prediction, target, repeated in zip(predictions, batch.targets, batch.repeated, strict=True):
            if not repeated and target.layers is not None:
                self.counts.update(prediction.layers, target.layers)

    def scores(self) -> LayerScores:
        """Return the scores over all processes."""
        return layer_scores(self.step_total(self.counts.counts.clone()).cpu(), self.info.classes)
