"""Predictions where an image holds no data: no class there, as the truth of a training has none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from coatseg.results.predict.segments import without
from coatseg.structures import DatasetInfo, MultilabelPrediction, PanopticPrediction, SemanticPrediction

LARGEST = 2**16
"""The number of class numbers that a file of labels can hold."""


def emptied(prediction: Any, nowhere: npt.NDArray[np.bool_] | None, info: DatasetInfo) -> Any:
    """Return a prediction without classes `nowhere`, (H, W) where its image holds no data.

    Label maps have the ignore index there, if a file of labels can hold it, and panoptic ones void. Objects stay as
    they are.
    """
    empty = EMPTIED.get(type(prediction))
    if nowhere is None or empty is None:
        return prediction
    return empty(prediction, torch.from_numpy(nowhere), info)


def _labels(prediction: SemanticPrediction, nowhere: Tensor, info: DatasetInfo) -> SemanticPrediction:
    if not len(info.classes) <= info.ignore_index < LARGEST:
        return prediction
    labels = prediction.label_map
    return replace(prediction, label_map=labels.masked_fill(nowhere.to(labels.device), info.ignore_index))


def _layers(prediction: MultilabelPrediction, nowhere: Tensor, info: DatasetInfo) -> MultilabelPrediction:
    return replace(prediction, layers=prediction.layers & ~nowhere.to(prediction.layers.device))


def _segments(prediction: PanopticPrediction, nowhere: Tensor, info: DatasetInfo) -> PanopticPrediction:
    return without(prediction, nowhere)


EMPTIED: Mapping[type, Callable[[Any, Tensor, DatasetInfo], Any]] = {
    SemanticPrediction: _labels,
    MultilabelPrediction: _layers,
    PanopticPrediction: _segments,
}
"""For each kind of prediction of pixels, the function that empties it."""
