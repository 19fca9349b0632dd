"""What a score threshold does to each kind of prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from coatseg.structures import DatasetInfo, InstancePrediction, MultilabelPrediction, SemanticPrediction


def _surer_pixels(prediction: SemanticPrediction, threshold: float, info: DatasetInfo) -> SemanticPrediction:
    unsure = prediction.scores < threshold
    return replace(prediction, label_map=prediction.label_map.masked_fill(unsure, info.ignore_index))


def _surer_layers(prediction: MultilabelPrediction, threshold: float, info: DatasetInfo) -> MultilabelPrediction:
    return replace(prediction, layers=prediction.scores > threshold)


def _surer_objects(prediction: InstancePrediction, threshold: float, info: DatasetInfo) -> InstancePrediction:
    kept = prediction.scores >= threshold
    masks = None if prediction.masks is None else prediction.masks[kept.to(prediction.masks.device)]
    boxes, labels, scores = prediction.boxes[kept], prediction.labels[kept], prediction.scores[kept]
    return replace(prediction, boxes=boxes, labels=labels, scores=scores, masks=masks)


THRESHOLDS: Mapping[type, Callable[[Any, float, DatasetInfo], Any]] = {
    SemanticPrediction: _surer_pixels,
    MultilabelPrediction: _surer_layers,
    InstancePrediction: _surer_objects,
}
"""For each kind of prediction a function of it, the threshold and the facts of the data."""
