"""A checkpoint back to a task: what it holds builds the model that it fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coatseg.build import build_task, check_task_fits
from coatseg.errors import CheckpointError
from coatseg.schema import Options
from coatseg.structures import DatasetInfo
from coatseg.tasks.base import Task
from coatseg.training.checkpoints import RECORD

SHOWN = 5


def restore_task(path: Path, checkpoint: Mapping[str, Any], config: Options, info: DatasetInfo) -> Task:
    """Build the task of `config`, for data with these facts, with a checkpoint's weights.

    Raises:
        CheckpointError: the classes or the channels differ from those it was trained on, or its weights do not fit.
    """
    trained = DatasetInfo.from_plain(checkpoint[RECORD]["info"])
    if trained.classes != info.classes:
        raise CheckpointError(
            f"{path} knows {len(trained.classes)} classes ({', '.join(trained.classes[:SHOWN])}, ...), "
            f"data={info.name} has {len(info.classes)} ({', '.join(info.classes[:SHOWN])}, ...).",
            f"Evaluate it on data with the classes of {trained.name}.",
        )
    check_task_fits(config, info)
    fresh = {**config, "backbone": {**config["backbone"], "pretrained": False}}
    task = build_task(fresh, info, total=1)
    load_state(task, checkpoint["state_dict"], path)
    return task


def load_state(task: Task, state: Mapping[str, Any], path: Path) -> None:
    """Load weights into a task, all of them or none.

    Raises:
        CheckpointError: keys are missing, unexpected or of another shape; the first of them are listed.
    """
    own = task.state_dict()
    shapes = {name: tuple(own[name].shape) for name in own}
    problems = {
        "missing": sorted(own.keys() - state.keys()),
        "unexpected": sorted(state.keys() - own.keys()),
        "misshaped": [
            f"{name} {tuple(state[name].shape)} instead of {shapes[name]}"
            for name in own.keys() & state.keys()
            if tuple(state[name].shape) != shapes[name]
        ],
    }
    found = [f"{len(names)} {kind} ({_first(names)})" for kind, names in problems.items() if names]
    if found:
        raise CheckpointError(
            f"The weights in {path} do not fit this model: {'; '.join(found)}.",
            "They are of another architecture or class count; use the backbone, head and data they were trained with.",
        )
    task.load_state_dict(dict(state))


def _first(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
