"""What a scored checkpoint is told by, in scores.json and in reports."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning

from coatseg.structures import parameter_count
from coatseg.tasks.base import Task


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
