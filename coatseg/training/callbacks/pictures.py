"""Pictures after each validation: images beside their truth and prediction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.trainer.states import TrainerFn

from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt
from coatseg.structures import Batch, DatasetInfo
from coatseg.visualize.label_maps import Picture
from coatseg.visualize.sheets import contact_sheet, legend, save_picture
from coatseg.visualize.views.base import View, original_image
from coatseg.visualize.views.table import view_of


@register("callback", "pictures")
class ValidationPictures(lightning.Callback):
    """Writes a contact sheet of `count` images, spread evenly over the validation split, as PICTURES/step_N.png."""

    def __init__(self, pictures: Path, info: DatasetInfo, *, count: PositiveInt = 6) -> None:
        self.folder = pictures
        self.info = info
        self.count = count
        self._view: View | None = None
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
        """Keep the first image of a batch, at even intervals over the split."""
        if not trainer.is_global_zero or batch_idx % self._every or len(self._rows) >= self.count:
            return
        prediction = outputs["predictions"][0]
        self._view = view_of(prediction)
        if self._view is not None:
            image = original_image(batch, 0, self.info)
            self._rows.append(self._view.pictures(image, prediction, batch.targets[0], self.info))

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the sheet."""
        if self._view is None or not self._rows or trainer.state.fn != TrainerFn.FITTING:
            return
        sheet = contact_sheet(self._rows, self._view.captions)
        named = np.concatenate([sheet, legend(self.info, sheet.shape[1], self._view.named(self.info))])
        save_picture(named, self.folder / f"step_{trainer.global_step:06d}.png")
