"""A checkpoint back to a task: what it holds builds the model that it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coatseg.build import build_task, check_task_fits
from coatseg.errors import CheckpointError
from coatseg.schema import Options
from coatseg.sections import without_pretrained
from coatseg.states import listed, mismatches
from coatseg.structures import DatasetInfo
from coatseg.tasks.base import Task
from coatseg.training.checkpoints import RECORD


def restore_task(
    path: Path, checkpoint: Mapping[str, Any], config: Options, info: DatasetInfo, repairs: Sequence[str] = ()
) -> Task:
    """Build the task of `config`, for data with these facts and repairs, with a checkpoint's weights.

    Raises:
        CheckpointError: the classes or the channels differ from those it was trained on, or its weights do not fit.
    """
    trained = DatasetInfo.from_plain(checkpoint[RECORD]["info"])
    if trained.classes != info.classes:
        raise CheckpointError(
            f"{path} knows {len(trained.classes)} classes ({listed(trained.classes)}), "
            f"data={info.name} has {len(info.classes)} ({listed(info.classes)}).",
            f"Evaluate it on data with the classes of {trained.name}.",
        )
    if (trained.mean, trained.std) != (info.mean, info.std):
        raise CheckpointError(
            f"{path} was trained on images of mean {trained.mean} and std {trained.std}, data={info.name} has "
            f"{info.mean} and {info.std}.",
            "State the same channels, data.mean and data.std as in training.",
        )
    task = untrained_task(config, info, repairs)
    load_state(task, checkpoint["state_dict"], path)
    return task


def untrained_task(config: Options, info: DatasetInfo, repairs: Sequence[str] = ()) -> Task:
    """Build the task of `config`, for data with these facts, whose weights will come from elsewhere.

    Raises:
        ConfigError: the data has no labels for the task; what its reader mended may tell why.
    """
    check_task_fits(config, info, repairs)
    # The task will not be trained, and the schedule it was trained under may not fit a run of no length.
    return build_task({**without_pretrained(config), "schedule": {"name": "constant"}}, info, total=1)


def load_state(task: Task, state: Mapping[str, Any], path: Path) -> None:
    """Load weights into a task, all of them or none.

    Raises:
        CheckpointError: keys are missing, unexpected or of another shape; the first of them are listed.
    """
    if found := mismatches(state, task.state_dict()):
        raise CheckpointError(
            f"The weights in {path} do not fit this model: {found}.",
            "They are of another architecture or class count; use the backbone, head and data they were trained with.",
        )
    task.load_state_dict(dict(state))
