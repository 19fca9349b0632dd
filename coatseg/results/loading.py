"""A checkpoint, or several, to a predictor: `coatseg.load(checkpoint)`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from coatseg.build import load_plugins
from coatseg.data.resizing import Sides
from coatseg.errors import CheckpointError, ConfigError
from coatseg.restore import restore_task
from coatseg.results.ensemble import MeanModel
from coatseg.results.predictor import Predictor
from coatseg.results.sources import MAX_PIXELS
from coatseg.schema import PositiveInt, Share, fitting
from coatseg.structures import DatasetInfo
from coatseg.tasks.base import Task
from coatseg.tasks.dense import DenseTask
from coatseg.training.checkpoints import RECORD, read_checkpoint


def load(
    checkpoint: str | Path | Sequence[str | Path],
    *,
    inference: Mapping[str, Any] | None = None,
    score_threshold: float | None = None,
    batch_size: int = 1,
    max_pixels: int = MAX_PIXELS,
    device: str | torch.device | None = None,
    plugins: Sequence[str] = (),
) -> Predictor:
    """Make a predictor of a checkpoint, or of several, the mean of whose probabilities is taken.

    `inference` lays options over the checkpoint's own way to infer, such as {"window": [512, 512], "flip": True}. The
    `device` is an accelerator if there is one, else the CPU. A checkpoint runs no code and imports nothing: modules of
    your own that it needs are named as `plugins`. For other options see Predictor.

    Raises:
        CheckpointError: one is missing, damaged, not coatseg's, or does not go with the others.
        ConfigError: an option does not fit.
    """
    load_plugins(list(plugins))
    paths = [Path(path) for path in ([checkpoint] if isinstance(checkpoint, str | Path) else checkpoint)]
    if not paths:
        raise ConfigError("There is no checkpoint to load.", "Give one path, or a list of them.")
    tasks, data, precisions = zip(*(_restored(path, inference or {}) for path in paths), strict=True)
    _check_alike(paths, tasks, data)
    task = tasks[0]
    if len(tasks) > 1:
        task.model = MeanModel([each.model for each in tasks], task.activation)
    return Predictor(
        task.to(device or torch.accelerator.current_accelerator(check_available=True) or "cpu"),
        evaluation_resize=data[0]["evaluation_resize"],
        bands=data[0]["bands"],
        score_threshold=fitting(score_threshold, Share | None, "score_threshold"),
        batch_size=fitting(batch_size, PositiveInt, "batch_size"),
        max_pixels=fitting(max_pixels, PositiveInt, "max_pixels"),
        weights=[fingerprint(path) for path in paths],
        precision=precisions[0],
    )


def fingerprint(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _restored(path: Path, inference: Mapping[str, Any]) -> tuple[Task, dict[str, Any], str]:
    """Give a checkpoint's task, how its data were read, and the precision that it was trained in."""
    checkpoint = read_checkpoint(path)
    record = checkpoint[RECORD]
    config = {**record["config"], "inference": {**(record["config"].get("inference") or {}), **inference}}
    task = restore_task(path, checkpoint, config, DatasetInfo.from_plain(record["info"]))
    hints = {"evaluation_resize": Sides | None, "bands": list[int] | None}
    data = {key: fitting(config["data"].get(key), hint, f"data.{key}") for key, hint in hints.items()}
    return task, data, str(config["trainer"].get("precision", "auto"))


def _check_alike(paths: Sequence[Path], tasks: Sequence[Task], data: Sequence[Mapping[str, Any]]) -> None:
    """Refuse checkpoints that cannot be averaged."""
    if len(tasks) > 1 and not isinstance(tasks[0], DenseTask):
        raise CheckpointError(
            f"{paths[0]} finds objects, and the mean of several checkpoints is that of pixels' classes.",
            "Give one checkpoint.",
        )
    for path, task, options in zip(paths, tasks, data, strict=True):
        first, info = tasks[0].info, task.info
        facts = {
            "task": type(task) is type(tasks[0]),
            "classes": info.classes == first.classes,
            "mean and std of images": (info.mean, info.std) == (first.mean, first.std),
            **{f"data.{key}": value == data[0][key] for key, value in options.items()},
        }
        if other := [name for name, same in facts.items() if not same]:
            raise CheckpointError(
                f"{path} and {paths[0]} differ in their {other[0]}.", "Average checkpoints of the same task and data."
            )
