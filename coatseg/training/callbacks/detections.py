"""Write the objects that a model detects on a split to files for COCO's tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning
import torch.distributed
from lightning.pytorch.trainer.states import TrainerFn

from coatseg.metrics.coco_format import image_order, results
from coatseg.structures import Batch, DatasetInfo, InstancePrediction
from coatseg.system.atomic import whole_file

MASKS_OR_BOXES, BOXES = "detections.json", "detections_boxes.json"
NAMES = (MASKS_OR_BOXES, BOXES)
"""The files: one of masks, or of boxes if a model predicts no masks; and one of boxes if it does."""


class DetectionFiles(lightning.Callback):
    """Collects the objects predicted whenever a split is evaluated by itself; `found` holds them, image by image.

    They are in COCO's results format, see `coatseg.metrics.coco_format`. `found` is None for tasks that predict no
    objects; `masks` is whether the objects have masks.
    """

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info
        self.found: list[dict[str, Any]] | None = None
        self.masks = False

    def on_validation_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forget the objects of an earlier evaluation."""
        self.found, self.masks = None, False

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the objects of a batch, each image's once."""
        if trainer.state.fn != TrainerFn.VALIDATING:
            return
        for prediction, repeated in zip(outputs["predictions"], batch.repeated, strict=True):
            if isinstance(prediction, InstancePrediction) and not repeated:
                self.found = [] if self.found is None else self.found
                self.found += results(prediction, self.info)
                self.masks |= prediction.masks is not None

    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Gather the objects of all processes, in the order of the images."""
        if trainer.state.fn != TrainerFn.VALIDATING:
            return
        shares: list[tuple[list[dict[str, Any]] | None, bool]] = [(self.found, self.masks)]
        if trainer.world_size > 1:
            shares *= trainer.world_size
            torch.distributed.all_gather_object(shares, (self.found, self.masks))
        self.masks = any(masks for _, masks in shares)
        if any(share is not None for share, _ in shares):
            rows = [row for share, _ in shares for row in share or ()]
            self.found = sorted(rows, key=lambda row: image_order(str(row["image_id"])))

    def write(self, folder: Path) -> list[Path]:
        """Write the objects as JSON, each file whole or not at all, and return the files.

        Nothing is written if the task predicts no objects.

        Boxes and masks are in files of their own, as COCO's tools take the area of the box for that of the mask if a
        row has both.
        """
        if self.found is None:
            return []
        # The field that the rows of each file leave out.
        without = {MASKS_OR_BOXES: "bbox", BOXES: "segmentation"} if self.masks else {MASKS_OR_BOXES: "segmentation"}
        for name, key in without.items():
            rows = [{field: value for field, value in row.items() if field != key} for row in self.found]
            with whole_file(folder / name) as file:
                file.write(json.dumps(rows, allow_nan=False).encode())
        return [folder / name for name in without]
