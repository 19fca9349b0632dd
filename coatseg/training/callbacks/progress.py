"""The progress of a run: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from collections import deque
from datetime import timedelta
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from coatseg.structures import Batch

RECENT = 20
"""The number of last steps over which the speed is measured."""


class RunProgress(ProgressBar):
    """Shows a run's step, losses, learning rate, images per second and time left, and each validation's scores.

    On a terminal that is one bar; elsewhere, a line every `every_seconds`.
    """

    def __init__(self, total_steps: int, batch_size: int, *, every_seconds: float = 20.0) -> None:
        super().__init__()
        self.total_steps = total_steps
        self.batch_size = batch_size
        self.every_seconds = every_seconds
        self.console = Console(highlight=False, markup=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._enabled = True
        self._first_step = 0
        self._began = self._shown = self._stepped = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def disable(self) -> None:
        """Show nothing, as on every process but the first."""
        self._enabled = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock, and the bar on a terminal."""
        self._first_step = trainer.global_step
        self._began = self._stepped = time.monotonic()
        if self._enabled and self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[state]}"),
                console=self.console,
            )
            self._bar.start()
            self._task = self._bar.add_task("train", total=self.total_steps, state="")

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Measure the step and show it."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        now = time.monotonic()
        self._recent.append(now - self._stepped)
        self._stepped = now
        step = trainer.global_step
        if self._bar is not None:
            self._bar.update(self._task, completed=step, state=self._state(trainer))
        elif self._enabled and (now - self._shown >= self.every_seconds or step == self.total_steps):
            self._shown = now
            self.console.print(f"step {step}/{self.total_steps}  {self._state(trainer)}")

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Show on the bar that a validation is running."""
        if self._bar is not None:
            self._bar.update(self._task, description="validate")

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print the scores of a validation; its time does not count as a step's."""
        self._stepped = time.monotonic()
        if not self._enabled or trainer.state.fn != TrainerFn.FITTING:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        shown = "  ".join(f"{name.removeprefix('val/')} {value:.4f}" for name, value in values.items())
        self.console.print(f"step {trainer.global_step}/{self.total_steps}  validation: {shown}")
        if self._bar is not None:
            self._bar.update(self._task, description="train")

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
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

    def _state(self, trainer: lightning.Trainer) -> str:
        metrics = {name: float(value) for name, value in trainer.progress_bar_metrics.items()}
        rate = metrics.pop("lr", 0.0)
        losses = "  ".join(f"{name} {value:.3f}" for name, value in metrics.items())
        done = trainer.global_step - self._first_step
        left = (time.monotonic() - self._began) / max(1, done) * (self.total_steps - trainer.global_step)
        speed = self.batch_size * len(self._recent) / sum(self._recent)
        return f"{losses}  lr {rate:.2e}  {speed:.1f} images/s  ETA {timedelta(seconds=round(left))}"
