"""The progress of a prediction, for Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar

from coatseg.commands.image_progress import counted


class PredictionProgress(ProgressBar):
    """Counts the images of the first process, whose share the others' are like."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._shown = ExitStack()
        self._count: Callable[[int], None] = lambda count: None

    def disable(self) -> None:
        """Show nothing, as on every process but the first."""
        self._enabled = False

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Start the clock, and the bar on a terminal."""
        self._count = self._shown.enter_context(counted("predict", pl_module.images_to_do, shown=self._enabled))

    def on_predict_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the images of a batch."""
        self._count(len(batch))

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the bar away."""
        self._shown.close()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away, so that the message stands alone."""
        self._shown.close()
