"""The views of predictions that assign classes to pixels, shown as painted label maps."""

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

PaintedLabels = npt.NDArray[np.integer]
Marked = npt.NDArray[np.bool_]


class LabelMapView(View):
    """Paints truth and prediction; a subclass defines the label maps to show for them."""

    captions = ("image", "truth", "prediction", "prediction over image")
    mistakes = "where wrong (red)"
    measure = "mIoU"
    meaning = "the mean IoU over the classes in their truth or prediction"

    @abstractmethod
    def truth(self, target: Target, info: DatasetInfo) -> PaintedLabels | None:
        """Return the truth as a label map (H, W), or None if there is none."""

    @abstractmethod
    def label_map(self, prediction: Any, info: DatasetInfo) -> PaintedLabels:
        """Return the prediction as a label map (H, W)."""

    @abstractmethod
    def wrong(self, prediction: Any, target: Target, info: DatasetInfo) -> tuple[Marked, Marked]:
        """Mark the pixels (H, W) that are wrong, and those that are ignored."""

    def pictures(self, image: Picture, prediction: Any, target: Target, info: DatasetInfo) -> list[Picture]:
        """Return the image, its truth (black if there is none), its prediction, and its prediction over the image."""
        label_map, truth = self.label_map(prediction, info), self.truth(target, info)
        known = np.full(label_map.shape, info.ignore_index) if truth is None else truth
        return [image, colour(known, info), colour(label_map, info), overlay(image, label_map, info)]

    def mistaken(self, image: Picture, prediction: Any, target: Target, info: DatasetInfo) -> Picture:
        """Return the image with wrong pixels tinted red."""
        return mistakes(image, *self.wrong(prediction, target, info))


class SemanticView(LabelMapView):
    """Shows semantic segmentations: one class per pixel."""

    def truth(self, target: Target, info: DatasetInfo) -> PaintedLabels | None:
        """Return the true label map, or None if there is none."""
        return None if target.label_map is None else target.label_map.cpu().numpy()

    def label_map(self, prediction: SemanticPrediction, info: DatasetInfo) -> PaintedLabels:
        """Return the predicted label map."""
        return prediction.label_map.cpu().numpy()

    def wrong(self, prediction: SemanticPrediction, target: Target, info: DatasetInfo) -> tuple[Marked, Marked]:
        """Mark the pixels whose label is not the true one, and those that are ignored."""
        assert target.label_map is not None
        truth = target.label_map.cpu().numpy()
        return truth != prediction.label_map.cpu().numpy(), truth == info.ignore_index

    def score(self, prediction: SemanticPrediction, target: Target, info: DatasetInfo) -> float:
        """Return the mean IoU over the classes of this image; NaN without a truth."""
        if target.label_map is None:
            return float("nan")
        return image_mean_iou(prediction.label_map, target.label_map, len(info.classes), info.ignore_index)


class MultilabelView(LabelMapView):
    """Shows layers, later classes over earlier ones; a pixel is wrong if it is wrong in any layer."""

    def truth(self, target: Target, info: DatasetInfo) -> PaintedLabels | None:
        """Return the true layers as a label map, or None if there are none."""
        return None if target.layers is None else topmost(target.layers.cpu().numpy(), info)

    def label_map(self, prediction: MultilabelPrediction, info: DatasetInfo) -> PaintedLabels:
        """Return the predicted layers as a label map."""
        return topmost(prediction.layers.cpu().numpy(), info)

    def wrong(self, prediction: MultilabelPrediction, target: Target, info: DatasetInfo) -> tuple[Marked, Marked]:
        """Mark the pixels that are wrong in any layer, and those that are ignored in all."""
        assert target.layers is not None
        truth = target.layers.cpu().numpy()
        unknown = truth == info.ignore_index
        wrong = ((truth == 1) != prediction.layers.cpu().numpy()) & ~unknown
        return wrong.any(0), unknown.all(0)

    def score(self, prediction: MultilabelPrediction, target: Target, info: DatasetInfo) -> float:
        """Return the mean IoU over the classes of this image; NaN without a truth."""
        if target.layers is None:
            return float("nan")
        counts = LayerCounts(len(info.classes), info.ignore_index)
        counts.update(prediction.layers, target.layers)
        return layer_scores(counts.counts, info.classes).mean_iou
