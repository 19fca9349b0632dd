"""What a model detects on a split, as a file for COCO's tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import torch.distributed
from lightning.pytorch.trainer.states import TrainerFn

from coatseg.atomic import whole_file
from coatseg.metrics.results import image_order, results
from coatseg.structures import Batch, DatasetInfo, InstancePrediction


class Detections(lightning.Callback):
    """Collects the objects predicted whenever a split is evaluated by itself; `found` holds them, image by image.

    They are in COCO's results format, see `coatseg.metrics.results`. `found` is None for tasks that predict no objects.
    """

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info
        self.found: list[dict[str, Any]] | None = None

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start anew."""
        self.found = None

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the objects of a batch, those of each image once."""
        if trainer.state.fn != TrainerFn.VALIDATING:
            return
        for prediction, repeated in zip(outputs["predictions"], batch.repeated, strict=True):
            if isinstance(prediction, InstancePrediction) and not repeated:
                self.found = [] if self.found is None else self.found
                self.found += results(prediction, self.info)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Join what the processes found, in the order of the images."""
        if trainer.state.fn != TrainerFn.VALIDATING:
            return
        shares: list[list[dict[str, Any]] | None] = [self.found]
        if trainer.world_size > 1:
            shares = [None] * trainer.world_size
            torch.distributed.all_gather_object(shares, self.found)
        if any(share is not None for share in shares):
            rows = [row for share in shares for row in share or ()]
            self.found = sorted(rows, key=lambda row: image_order(str(row["image_id"])))

    def write(self, path: Path) -> None:
        """Write them as JSON, whole or not at all; nothing if no objects are predicted."""
        if self.found is not None:
            with whole_file(path) as file:
                file.write(json.dumps(self.found, allow_nan=False).encode())
