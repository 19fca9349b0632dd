"""The evaluation of a task on one split."""

from __future__ import annotations

import lightning

from coatseg.data.module import DataModule
from coatseg.structures import Scores
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
