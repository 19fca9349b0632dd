"""The images of a split that a model does worst on, for people to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import numpy.typing as npt
import torch.distributed
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from coatseg.data.images import denormalise
from coatseg.metrics.confusion import image_mean_iou
from coatseg.metrics.layers import LayerCounts, layer_scores
from coatseg.schema import PositiveInt
from coatseg.structures import Batch, DatasetInfo, MultilabelPrediction, SemanticPrediction, Target
from coatseg.visualize import Picture, colour, contact_sheet, legend, mistakes, save_picture, scaled, stretched, topmost

CAPTIONS = ("image", "truth", "prediction", "where wrong (red)")
WIDTH = 320


@dataclass(frozen=True)
class Ranked:
    """An image, its mean IoU over the classes in its truth or prediction, and its pictures, one under each caption."""

    id: str
    score: float
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Judged:
    """The mean IoU of one image; its truth and prediction as label maps to paint, and where it is wrong, (H, W)."""

    score: float
    truth: npt.NDArray[np.integer]
    prediction: npt.NDArray[np.integer]
    wrong: npt.NDArray[np.bool_]
    ignored: npt.NDArray[np.bool_]


class WorstImages(lightning.Callback):
    """Finds the `count` images of lowest mean IoU whenever a split is evaluated by itself; `found` holds them.

    Each process keeps no more than `count` rows of small pictures; in the end all of them know the same images, worst
    first, whatever the number of processes. An image that is ignored whole has no score.
    """

    def __init__(self, info: DatasetInfo, *, count: PositiveInt = 8) -> None:
        self.info = info
        self.count = count
        self.found: list[Ranked] = []

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start anew."""
        self.found = []

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Rank the images of a batch, each once, if there is a label map to compare with."""
        if trainer.state.fn != TrainerFn.VALIDATING:
            return
        for number, prediction in enumerate(outputs["predictions"]):
            judged = judge(prediction, batch.targets[number], self.info)
            if judged is not None and not batch.repeated[number]:
                height, width = batch.sizes[number]
                self._add(prediction.id, judged, batch.images[number, :, :height, :width])

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Agree with the other processes on the worst of all."""
        if trainer.state.fn == TrainerFn.VALIDATING and trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, self.found)
            self.found = worst([ranked for found in gathered for ranked in found], self.count)

    def _add(self, image_id: str, judged: Judged, image: Tensor) -> None:
        score = judged.score
        if math.isnan(score):
            return
        if len(self.found) == self.count and (score, image_id) > (self.found[-1].score, self.found[-1].id):
            return
        ranked = Ranked(image_id, score, row_of_pictures(image, judged, self.info))
        self.found = worst([*self.found, ranked], self.count)


def judge(prediction: Any, target: Target, info: DatasetInfo) -> Judged | None:
    """Score a prediction on its image alone; None without a truth to compare with."""
    if isinstance(prediction, SemanticPrediction) and target.label_map is not None:
        score = image_mean_iou(prediction.label_map, target.label_map, len(info.classes), info.ignore_index)
        truth, label_map = target.label_map.cpu().numpy(), prediction.label_map.cpu().numpy()
        return Judged(score, truth, label_map, truth != label_map, truth == info.ignore_index)
    if isinstance(prediction, MultilabelPrediction) and target.layers is not None:
        counts = LayerCounts(len(info.classes), info.ignore_index)
        counts.update(prediction.layers, target.layers)
        score = layer_scores(counts.counts, info.classes).mean_iou
        truth, layers = target.layers.cpu().numpy(), prediction.layers.cpu().numpy()
        unknown = truth == info.ignore_index
        wrong = ((truth == 1) != layers) & ~unknown
        return Judged(score, topmost(truth, info), topmost(layers, info), wrong.any(0), unknown.all(0))
    return None


def worst(images: Sequence[Ranked], count: int) -> list[Ranked]:
    """Give the `count` images of lowest score, lowest first; those of one score in the order of their ids."""
    return sorted(images, key=lambda ranked: (ranked.score, ranked.id))[:count]


def row_of_pictures(image: Tensor, judged: Judged, info: DatasetInfo) -> tuple[Picture, ...]:
    """Picture an image (C, H, W), its truth, its prediction and where they differ, small."""
    height, width = judged.truth.shape
    picture = stretched(denormalise(image, info), (height, width))
    maps = (colour(label_map, info) for label_map in (judged.truth, judged.prediction))
    row = (picture, *maps, mistakes(picture, judged.wrong, judged.ignored))
    return tuple(scaled(cell, WIDTH) for cell in row)


def save_worst(found: Sequence[Ranked], info: DatasetInfo, path: Path) -> None:
    """Draw the contact sheet of the worst images, each under its id and score."""
    titles = [f"{place}. {ranked.id}   mIoU {ranked.score:.4f}" for place, ranked in enumerate(found, 1)]
    sheet = contact_sheet([ranked.pictures for ranked in found], CAPTIONS, WIDTH, titles)
    save_picture(np.concatenate([sheet, legend(info, sheet.shape[1])]), path)
