"""What is kept of predictions for files: label maps in as few bytes as they need, put together from pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from coatseg.data.images.pixels import Pixels
from coatseg.structures import (
    DatasetInfo,
    InstancePrediction,
    MultilabelPrediction,
    SemanticPrediction,
    Size,
)

Prediction = SemanticPrediction | MultilabelPrediction | InstancePrediction


@dataclass(frozen=True)
class LabelMap:
    """One image's class numbers (H, W) at its original size, uint8, or uint16 where there are more than 256."""

    id: str
    labels: Pixels


@dataclass(frozen=True)
class Layers:
    """Where each of K classes is in one image, at its original size: (K, H, W) bool."""

    id: str
    layers: npt.NDArray[Any]


Written = LabelMap | Layers | InstancePrediction
"""What a writer turns into files."""

Fields = Mapping[str, torch.dtype]

FULL: Mapping[type, Fields] = {
    SemanticPrediction: {"label_map": torch.int64, "scores": torch.float32},
    MultilabelPrediction: {"layers": torch.bool, "scores": torch.float32},
}
"""The fields of a prediction that have a value a pixel, and their types."""


class Canvas:
    """Puts the fields (..., H, W) of an image of `size` together from those of its pieces."""

    def __init__(self, size: Size) -> None:
        self.size = size
        self.painted: dict[str, Tensor] = {}

    def paint(self, top: int, left: int, piece: Prediction, fields: Fields) -> None:
        """Put the prediction of a piece at its place."""
        for name, dtype in fields.items():
            value: Tensor = getattr(piece, name)
            if name not in self.painted:
                self.painted[name] = torch.empty((*value.shape[:-2], *self.size), dtype=dtype)
            height, width = value.shape[-2:]
            self.painted[name][..., top : top + height, left : left + width] = value


def fields_to_write(kind: type, info: DatasetInfo) -> Fields:
    """Return the fields of a prediction that have a value a pixel and are written, and the smallest types they fit."""
    largest = max(len(info.classes) - 1, info.ignore_index)
    written: dict[type, Fields] = {
        SemanticPrediction: {"label_map": torch.uint8 if largest < 256 else torch.uint16},
        MultilabelPrediction: {"layers": torch.bool},
    }
    return written.get(kind, {})


def to_write(prediction: Prediction, fields: Fields) -> Written:
    """Keep of a prediction what is written."""
    values = {name: getattr(prediction, name).to(dtype).cpu().numpy() for name, dtype in fields.items()}
    match prediction:
        case SemanticPrediction():
            return LabelMap(prediction.id, values["label_map"])
        case MultilabelPrediction():
            return Layers(prediction.id, values["layers"])
        case _:
            return prediction
