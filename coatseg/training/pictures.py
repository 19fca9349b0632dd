"""After each validation, a picture of image, truth and prediction side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.trainer.states import TrainerFn

from coatseg.data.images import denormalise
from coatseg.schema import PositiveInt
from coatseg.structures import Batch, DatasetInfo, MultilabelPrediction, SemanticPrediction
from coatseg.visualize import Picture, colour, contact_sheet, legend, overlay, save_picture, stretched, topmost

CAPTIONS = ("image", "truth", "prediction", "prediction over image")


class ValidationPictures(lightning.Callback):
    """Writes a contact sheet of `count` images, spread evenly over the validation split, as PICTURES/step_N.png."""

    def __init__(self, pictures: Path, info: DatasetInfo, *, count: PositiveInt = 6) -> None:
        self.folder = pictures
        self.info = info
        self.count = count
        self._rows: list[list[Picture]] = []
        self._every = 1

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start a new sheet."""
        self._rows = []
        batches = trainer.num_val_batches[0] if isinstance(trainer.num_val_batches, list) else trainer.num_val_batches
        self._every = max(1, int(batches) // self.count)

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first image of every so many batches."""
        if trainer.is_global_zero and batch_idx % self._every == 0 and len(self._rows) < self.count:
            self._rows.append(row_of_pictures(batch, outputs["predictions"][0], self.info))

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the sheet."""
        if not self._rows or trainer.state.fn != TrainerFn.FITTING:
            return
        sheet = contact_sheet(self._rows, CAPTIONS)
        named = np.concatenate([sheet, legend(self.info, sheet.shape[1])])
        save_picture(named, self.folder / f"step_{trainer.global_step:06d}.png")


def row_of_pictures(
    batch: Batch, prediction: SemanticPrediction | MultilabelPrediction, info: DatasetInfo
) -> list[Picture]:
    """Picture the first image of a batch: as it is, its truth, its prediction, and the two blended."""
    height, width = batch.sizes[0]
    image = stretched(denormalise(batch.images[0, :, :height, :width], info), batch.original_sizes[0])
    target = batch.targets[0]
    if isinstance(prediction, MultilabelPrediction):
        label_map = topmost(prediction.layers.cpu().numpy(), info)
        truth = None if target.layers is None else topmost(target.layers.cpu().numpy(), info)
    else:
        label_map = prediction.label_map.cpu().numpy()
        truth = None if target.label_map is None else target.label_map.cpu().numpy()
    known = np.full(label_map.shape, info.ignore_index) if truth is None else truth
    return [image, colour(known, info), colour(label_map, info), overlay(image, label_map, info)]
