"""The progress of a prediction: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

EVERY_SECONDS = 20.0


class PredictionProgress(ProgressBar):
    """Counts the images of the first process, whose share the others' are like."""

    def __init__(self) -> None:
        super().__init__()
        self.console = Console(highlight=False, markup=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._enabled = True
        self._seen = self._total = 0
        self._began = self._shown = 0.0

    def disable(self) -> None:
        """Show nothing, as on every process but the first."""
        self._enabled = False

    def on_predict_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Start the clock, and the bar on a terminal."""
        self._seen, self._total = 0, pl_module.images_to_do
        self._began = self._shown = time.monotonic()
        if self._enabled and self.console.is_terminal:
            columns = (TextColumn("predict"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=self.console)
            self._bar.start()
            self._task = self._bar.add_task("predict", total=self._total)

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
        now = time.monotonic()
        self._seen += len(batch)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._seen)
        elif self._enabled and now - self._shown >= EVERY_SECONDS:
            self._shown = now
            left = (now - self._began) / self._seen * (self._total - self._seen)
            self.console.print(f"image {self._seen}/{self._total}  ETA {timedelta(seconds=round(left))}")

    def on_predict_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Take the bar away."""
        self._stop()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away, so that the message stands alone."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
