"""Views of predictions that give pixels classes: painted label maps."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.metrics.confusion import image_mean_iou
from coatseg.metrics.multilabel import LayerCounts, layer_scores
from coatseg.structures import DatasetInfo, MultilabelPrediction, SemanticPrediction, Target
from coatseg.visualize.label_maps import Picture, colour, mistakes, overlay, topmost
from coatseg.visualize.views.base import View

LabelMap = npt.NDArray[np.integer]
Marked = npt.NDArray[np.bool_]


class LabelMapView(View):
    """Paints truth and prediction; a subclass says what label maps they make."""

    captions = ("image", "truth", "prediction", "prediction over image")
    mistakes = "where wrong (red)"
    measure = "mIoU"
    meaning = "the mean IoU over the classes in their truth or prediction"

    @abstractmethod
    def truth(self, target: Target, info: DatasetInfo) -> LabelMap | None:
        """Give the truth as a label map (H, W), None if there is none."""

    @abstractmethod
    def label_map(self, prediction: Any, info: DatasetInfo) -> LabelMap:
        """Give the prediction as a label map (H, W)."""

    @abstractmethod
    def wrong(self, prediction: Any, target: Target, info: DatasetInfo) -> tuple[Marked, Marked]:
        """Mark the pixels (H, W) that are wrong, and those that are ignored."""

    def pictures(self, image: Picture, prediction: Any, target: Target, info: DatasetInfo) -> list[Picture]:
        """Picture the image as it is, its truth, its prediction, and the two blended; without a truth that is black."""
        label_map, truth = self.label_map(prediction, info), self.truth(target, info)
        known = np.full(label_map.shape, info.ignore_index) if truth is None else truth
        return [image, colour(known, info), colour(label_map, info), overlay(image, label_map, info)]

    def mistaken(self, image: Picture, prediction: Any, target: Target, info: DatasetInfo) -> Picture:
        """Tint wrong pixels."""
        return mistakes(image, *self.wrong(prediction, target, info))


class SemanticView(LabelMapView):
    """Shows one class a pixel."""

    def truth(self, target: Target, info: DatasetInfo) -> LabelMap | None:
        """Give the label map."""
        return None if target.label_map is None else target.label_map.cpu().numpy()

    def label_map(self, prediction: SemanticPrediction, info: DatasetInfo) -> LabelMap:
        """Give the label map."""
        return prediction.label_map.cpu().numpy()

    def wrong(self, prediction: SemanticPrediction, target: Target, info: DatasetInfo) -> tuple[Marked, Marked]:
        """Compare the label maps."""
        assert target.label_map is not None
        truth = target.label_map.cpu().numpy()
        return truth != prediction.label_map.cpu().numpy(), truth == info.ignore_index

    def score(self, prediction: SemanticPrediction, target: Target, info: DatasetInfo) -> float:
        """Give the mean IoU."""
        if target.label_map is None:
            return float("nan")
        return image_mean_iou(prediction.label_map, target.label_map, len(info.classes), info.ignore_index)


class MultilabelView(LabelMapView):
    """Shows layers, later classes over earlier ones; a pixel is wrong if any layer is."""

    def truth(self, target: Target, info: DatasetInfo) -> LabelMap | None:
        """Paint the layers over one another."""
        return None if target.layers is None else topmost(target.layers.cpu().numpy(), info)

    def label_map(self, prediction: MultilabelPrediction, info: DatasetInfo) -> LabelMap:
        """Paint the layers over one another."""
        return topmost(prediction.layers.cpu().numpy(), info)

    def wrong(self, prediction: MultilabelPrediction, target: Target, info: DatasetInfo) -> tuple[Marked, Marked]:
        """Compare the layers; ignored is what is so in all."""
        assert target.layers is not None
        truth = target.layers.cpu().numpy()
        unknown = truth == info.ignore_index
        wrong = ((truth == 1) != prediction.layers.cpu().numpy()) & ~unknown
        return wrong.any(0), unknown.all(0)

    def score(self, prediction: MultilabelPrediction, target: Target, info: DatasetInfo) -> float:
        """Give the mean IoU."""
        if target.layers is None:
            return float("nan")
        counts = LayerCounts(len(info.classes), info.ignore_index)
        counts.update(prediction.layers, target.layers)
        return layer_scores(counts.counts, info.classes).mean_iou
