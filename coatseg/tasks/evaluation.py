"""The evaluation of a task on one split, and what a scored checkpoint is told by."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning

from coatseg.data.loading.module import DataModule
from coatseg.structures import Scores, parameter_count
from coatseg.tasks.base import Task


class SplitData(lightning.LightningDataModule):
    """One split of a data module as what is evaluated."""

    def __init__(self, data: DataModule, split: str) -> None:
        super().__init__()
        self.data = data
        self.split = split

    def val_dataloader(self) -> object:
        """Give the split as read."""
        self.data.trainer = self.trainer
        return self.data.evaluation_dataloader(self.split)


def evaluate(trainer: lightning.Trainer, task: Task, data: DataModule, split: str) -> Scores:
    """Score a task on a split, every sample once; nothing is logged.

    Raises:
        CoatsegError: the split does not exist or a file of it is damaged.
    """
    trainer.loggers = []
    trainer.validate(task, datamodule=SplitData(data, split), verbose=False)
    return task.result


def result_of(
    task: Task, trainer: lightning.Trainer, *, checkpoint: str | Path, step: int, split: str, began: float
) -> dict[str, Any]:
    """Give the facts of an evaluation; `began` is when the command did, by time.monotonic."""
    return {
        "checkpoint": str(checkpoint),
        "step": step,
        "split": split,
        "monitor": task.monitor,
        "inference": task.inference.words,
        "parameters": parameter_count(task.model),
        "precision": str(trainer.precision),
        "seconds": round(time.monotonic() - began, 3),
    }
