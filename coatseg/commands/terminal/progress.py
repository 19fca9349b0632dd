"""Progress of the commands that go through images: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY_SECONDS = 20.0


@contextmanager
def counted(name: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of images of each batch; progress is shown only if `shown`."""
    console = Console(highlight=False, markup=False, soft_wrap=True, quiet=not shown)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(name, total=total)
            yield lambda count: progress.advance(task, count)
        return
    began = last = time.monotonic()
    done = 0

    def count(more: int) -> None:
        nonlocal done, last
        done += more
        now = time.monotonic()
        if now - last >= EVERY_SECONDS:
            last = now
            left = timedelta(seconds=round((total - done) * (now - began) / max(1, done)))
            console.print(f"{name}: {done}/{total} images, {done / (now - began):.1f} images/s, ETA {left}")

    yield count


class PredictionProgress(ProgressBar):
    """Shows the progress of the first process, which stands for all, as their shares are alike."""

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
