"""What is kept of predictions for files: label maps in as few bytes as they need, put together from pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from coatseg.structures import (
    DatasetInfo,
    InstancePrediction,
    MultilabelPrediction,
    PanopticPrediction,
    Pixels,
    SemanticPrediction,
    Size,
)

Prediction = SemanticPrediction | MultilabelPrediction | InstancePrediction | PanopticPrediction


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


Written = LabelMap | Layers | InstancePrediction | PanopticPrediction
"""What a writer turns into files."""

Fields = Mapping[str, torch.dtype]
"""Fields of a prediction that have a value a pixel, and their types."""


class PredictionCanvas:
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


@dataclass(frozen=True)
class Form:
    """How a type of prediction is put together from pieces, and what is written of it.

    `full` are all of its fields that have a value a pixel; `kept` returns those that files hold, for data with these
    facts in the smallest types that they fit. `written` is made of the id and the arrays of the latter; a prediction
    that is never made of pieces states none, and is written as it is.
    """

    full: Fields
    kept: Callable[[DatasetInfo], Fields]
    written: type


def _class_numbers(info: DatasetInfo) -> Fields:
    largest = max(len(info.classes) - 1, info.ignore_index)
    return {"label_map": torch.uint8 if largest < 256 else torch.uint16}


FORMS: Mapping[type, Form] = {
    SemanticPrediction: Form({"label_map": torch.int64, "scores": torch.float32}, _class_numbers, LabelMap),
    MultilabelPrediction: Form(
        {"layers": torch.bool, "scores": torch.float32}, lambda info: {"layers": torch.bool}, Layers
    ),
    InstancePrediction: Form({}, lambda info: {}, InstancePrediction),
    PanopticPrediction: Form({}, lambda info: {}, PanopticPrediction),
}
"""For each type of prediction, its form."""


def full_fields(kind: type) -> Fields:
    """Return all fields of a type of prediction that have a value a pixel."""
    return FORMS[kind].full


def fields_to_write(kind: type, info: DatasetInfo) -> Fields:
    """Return those of them that are written, in the smallest types that they fit; none of a user's own prediction."""
    return FORMS[kind].kept(info) if kind in FORMS else {}


def to_write(prediction: Any, fields: Fields) -> Written:
    """Return what is written of a prediction: its fields that have a value a pixel, or itself if it has none."""
    values = (getattr(prediction, name).to(dtype).cpu().numpy() for name, dtype in fields.items())
    written: Written = FORMS[type(prediction)].written(prediction.id, *values) if fields else prediction
    return written
