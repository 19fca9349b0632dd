"""The images of a split on which a model does worst, for people to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch.distributed
from lightning.pytorch.trainer.states import TrainerFn

from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt
from coatseg.structures import Batch, DatasetInfo
from coatseg.visualize.label_maps import Picture
from coatseg.visualize.sheets import contact_sheet, legend, save_picture, scaled
from coatseg.visualize.views.base import WIDTH, View, original_image
from coatseg.visualize.views.table import view_of


@dataclass(frozen=True)
class Ranked:
    """An image's id, its score by its view's measure, and its pictures: image, truth, prediction, mistakes."""

    id: str
    score: float
    pictures: tuple[Picture, ...]


@register("callback", "worst")
class WorstImages(lightning.Callback):
    """Finds the `count` images of lowest score whenever a split is evaluated by itself; `found` holds them.

    `view` says what the score is, mean IoU, F1 or panoptic quality. Each process keeps at most `count` rows of small
    pictures; at the end all processes know the same images, worst first, however many processes there are. An image has
    no score if all of it is ignored, or if it has no object and none is predicted.
    """

    def __init__(self, info: DatasetInfo, *, count: PositiveInt = 8) -> None:
        self.info = info
        self.count = count
        self.view: View | None = None
        self.found: list[Ranked] = []

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forget the images of an earlier evaluation."""
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
        """Rank the images of a batch, each once, if its kind of prediction can be drawn."""
        if trainer.state.fn != TrainerFn.VALIDATING:
            return
        for number, prediction in enumerate(outputs["predictions"]):
            self.view = view_of(prediction)
            if self.view is not None and not batch.repeated[number]:
                self._rank(self.view, batch, number, prediction)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Gather the images of all processes, and keep the worst of them."""
        if trainer.state.fn == TrainerFn.VALIDATING and trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, self.found)
            self.found = worst([ranked for found in gathered for ranked in found], self.count)

    def _rank(self, view: View, batch: Batch, number: int, prediction: Any) -> None:
        target, image_id = batch.targets[number], batch.ids[number]
        score = view.score(prediction, target, self.info)
        if math.isnan(score):
            return
        if len(self.found) == self.count and (score, image_id) > (self.found[-1].score, self.found[-1].id):
            return
        image = original_image(batch, number, self.info)
        row = view.pictures(image, prediction, target, self.info)[:3]
        row.append(view.mistaken(image, prediction, target, self.info))
        ranked = Ranked(image_id, score, tuple(scaled(picture, WIDTH) for picture in row))
        self.found = worst([*self.found, ranked], self.count)


def worst(images: Sequence[Ranked], count: int) -> list[Ranked]:
    """Return the `count` images of lowest score, lowest first; those of equal score are in the order of their ids."""
    return sorted(images, key=lambda ranked: (ranked.score, ranked.id))[:count]


def save_worst(images: WorstImages, path: Path) -> None:
    """Write a contact sheet of the worst images found, each row under its id and score."""
    view, info = images.view, images.info
    if view is None:
        return
    found = images.found
    titles = [f"{place}. {ranked.id}   {view.measure} {ranked.score:.4f}" for place, ranked in enumerate(found, 1)]
    captions = (*view.captions[:3], view.mistakes)
    sheet = contact_sheet([ranked.pictures for ranked in found], captions, WIDTH, titles)
    save_picture(np.concatenate([sheet, legend(info, sheet.shape[1], view.named(info))]), path)
