"""Predictors of a small convolution: what is around a model can be tested without one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coatseg.losses.base import WeightedSum
from coatseg.models.backbones.padding_mask import as_pairs
from coatseg.models.heads.detection.base import in_float32
from coatseg.models.heads.panoptic.maps import PanopticMaps
from coatseg.models.heads.panoptic.merging import MergedMaps, Merging
from coatseg.results.predict.predictor import Predictor
from coatseg.structures import DatasetInfo, Outputs, Size
from coatseg.tasks.dense import DenseTask
from coatseg.tasks.inference.options import Inference
from coatseg.tasks.panoptic import PanopticTask
from coatseg.tasks.semantic import SemanticTask


class Convolution(nn.Module):
    """Logits that depend on a pixel's neighbours."""

    def __init__(self, classes: int, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Conv2d(3, classes, 5, padding=2)

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> Outputs:
        return Outputs(self.layer(images))


def small_predictor(
    inference: Inference | None = None,
    *,
    task: type[DenseTask] = SemanticTask,
    classes: int = 4,
    seed: int = 0,
    **options: Any,
) -> Predictor:
    info = DatasetInfo(
        "small",
        tuple(f"class {number}" for number in range(classes)),
        tuple((number % 256, 10, 20) for number in range(classes)),
        frozenset({task.needs}),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
    made = task(
        Convolution(classes, seed),
        info,
        WeightedSum({}, {}),
        optimizer=lambda model: torch.optim.SGD(model.parameters()),
        schedule=lambda step: 1.0,
        inference=inference or Inference(),
    )
    return Predictor(made, **options)


class SegmentMaps(nn.Module):
    """Maps of Panoptic-DeepLab that depend on a pixel's neighbours, of 4 classes of which the last two are things."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = in_float32(nn.Conv2d(3, 7, 5, padding=2))
        self.is_thing = torch.tensor([False, False, True, True])

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[MergedMaps]:
        pairs = as_pairs(sizes) or ((images.shape[-2], images.shape[-1]),) * len(images)
        each = (self.layer(image[:, :rows, :columns]) for image, (rows, columns) in zip(images, pairs, strict=True))
        merging = Merging(threshold=0.3, top_k=5)
        return [MergedMaps(PanopticMaps(*maps.split([4, 1, 2])), self.is_thing, merging) for maps in each]


def panoptic_predictor(inference: Inference | None = None, *, seed: int = 0, **options: Any) -> Predictor:
    info = DatasetInfo(
        "small",
        ("sky", "road", "car", "person"),
        ((0, 0, 250), (90, 90, 90), (250, 0, 0), (0, 250, 0)),
        frozenset({"panoptic"}),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        things=(2, 3),
        category_ids=(11, 12, 21, 22),
    )
    made = PanopticTask(
        SegmentMaps(seed),
        info,
        optimizer=lambda model: torch.optim.SGD(model.parameters()),
        schedule=lambda step: 1.0,
        inference=inference or Inference(),
    )
    return Predictor(made, **options)


def blotches(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """An image whose labels differ from place to place."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, channels), np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1)[:height, :width])
