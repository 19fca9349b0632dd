"""The evaluation of a task on one split, and the facts that are stored with its scores."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning

from coatseg.data.loading.module import DataModule
from coatseg.structures import Scores, parameter_count
from coatseg.tasks.base import Task


class SplitData(lightning.LightningDataModule):
    """One split of a data module, served to the trainer as validation data."""

    def __init__(self, data: DataModule, split: str) -> None:
        super().__init__()
        self.data = data
        self.split = split

    def val_dataloader(self) -> object:
        """Return the loader of the split, without augmentation."""
        self.data.trainer = self.trainer
        return self.data.evaluation_dataloader(self.split)


def evaluate(trainer: lightning.Trainer, task: Task, data: DataModule, split: str) -> Scores:
    """Return the scores of a task on a split, every sample once; nothing is logged.

    Raises:
        CoatsegError: the split does not exist or a file of it is damaged.
    """
    trainer.loggers = []
    trainer.validate(task, datamodule=SplitData(data, split), verbose=False)
    return task.result


def result_of(
    task: Task, trainer: lightning.Trainer, *, checkpoint: str | Path, step: int, split: str, began: float
) -> dict[str, Any]:
    """Return the facts of an evaluation; `began` is when the command began, by time.monotonic, in seconds."""
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
