"""Build the task of a checkpoint from the configuration that it holds, and load its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from coatseg.config.build import build_task, check_task_fits
from coatseg.config.plan import TaskPlan
from coatseg.config.read import read_untrained
from coatseg.config.sections import named
from coatseg.data.images.resizing import Sides
from coatseg.data.images.statements.nodata import NoDataOption
from coatseg.errors import CheckpointError, ConfigError, listed
from coatseg.models.weights.mismatches import mismatches
from coatseg.registry.options import Options, fitting
from coatseg.structures import DatasetInfo
from coatseg.tasks.base import Task
from coatseg.training.callbacks.checkpoints import RECORD, read_checkpoint

NAMED = ("backbone", "head", "task", "optimizer", "data")
"""The sections of a checkpoint's configuration without which nothing can be built."""

IMAGES: Mapping[str, Any] = {
    "evaluation_resize": Sides | None,
    "bands": list[int] | None,
    "nodata": NoDataOption,
    "level": int | None,
    "microns": float | None,
}
"""The data options that say how an image becomes the model's input, with their types."""


@dataclass(frozen=True)
class ModelRecord:
    """What an exported file says of its model beside the facts of its data.

    `task` is the section of its task as a checkpoint keeps it, `backbone` and `head` are names; `images` are the
    options of data in IMAGES, as they were written.
    """

    task: Options
    backbone: str
    head: str
    images: Mapping[str, Any]

    @classmethod
    def of(cls, config: Options) -> ModelRecord:
        """Take the record out of a configuration that was trained with."""
        images = {name: config["data"].get(name) for name in IMAGES}
        return cls(dict(config["task"]), str(config["backbone"]["name"]), str(config["head"]["name"]), images)


@dataclass(frozen=True)
class Trained:
    """A checkpoint that has been read, and of which nothing has been built yet.

    `config` is the configuration it was trained with, `info` the facts of its data, `state` its weights, averaged ones
    if the run averaged them; `step` is the number of optimizer steps after which it was written.
    """

    path: Path
    config: Options
    info: DatasetInfo
    state: Mapping[str, Any]
    step: int

    @property
    def images(self) -> dict[str, Any]:
        """The data options that say how its images were read in evaluation."""
        options = self.config["data"]
        return {key: fitting(options.get(key), hint, f"data.{key}") for key, hint in IMAGES.items()}

    @cached_property
    def plan(self) -> TaskPlan:
        """The plan of its task, for use without training.

        Raises:
            ConfigError: a name is unknown, as when the plugin that registers it has not been loaded.
        """
        return read_untrained(self.config)

    def build(self, plan: TaskPlan | None = None, info: DatasetInfo | None = None, repairs: Sequence[str] = ()) -> Task:
        """Build its task with its weights; `plan`, `info` and `repairs` take the place of its own plan and data.

        Raises:
            CheckpointError: the classes or the channels differ from those it was trained on, or its weights do not fit.
            ConfigError: as `plan` and `untrained_task`.
        """
        info = self.info if info is None else info
        if self.info.classes != info.classes:
            raise CheckpointError(
                f"{self.path} knows {len(self.info.classes)} classes ({listed(self.info.classes)}), "
                f"data={info.name} has {len(info.classes)} ({listed(info.classes)}).",
                f"Evaluate it on data with the classes of {self.info.name}.",
            )
        if (self.info.mean, self.info.std) != (info.mean, info.std):
            raise CheckpointError(
                f"{self.path} was trained on images of mean {self.info.mean} and std {self.info.std}, "
                f"data={info.name} has {info.mean} and {info.std}.",
                "State the same channels, data.mean and data.std as in training.",
            )
        task = untrained_task(self.plan if plan is None else plan.untrained(), info, repairs)
        load_state(task, self.state, self.path)
        return task


def read_trained(path: Path) -> Trained:
    """Read a checkpoint, without running code from it.

    Raises:
        CheckpointError: it is missing, damaged, or was not written by coatseg.
    """
    checkpoint = read_checkpoint(path)
    config, info = checkpoint_record(checkpoint, path)
    return Trained(path, config, info, checkpoint["state_dict"], int(checkpoint["global_step"]))


def other_classes(weights: str, info: DatasetInfo) -> str | None:
    """Return a line of warning if the weights were trained on other classes than the data's, but on as many.

    Returns None if they were not, or if the file names no classes.
    """
    try:
        known = read_trained(Path(weights)).info.classes
    except CheckpointError:  # of another library: its names are not read
        return None
    if known == info.classes or len(known) != len(info.classes):
        return None
    return f"{weights} is of as many classes, and of others: {listed(known)}; the data has {listed(info.classes)}"


def untrained_task(plan: TaskPlan, info: DatasetInfo, repairs: Sequence[str] = ()) -> Task:
    """Build the task of an untrained plan (see TaskPlan.untrained) for data with these facts.

    Raises:
        ConfigError: the data has no labels for the task; `repairs` may explain why.
    """
    check_task_fits(plan.task, info, repairs)
    return build_task(plan, info, total=1)


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


def checkpoint_record(checkpoint: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], DatasetInfo]:
    """Return the configuration that a checkpoint was trained with, and the facts of its data.

    Raises:
        CheckpointError: one of them is missing or incomplete.
    """
    try:
        config, info = dict(checkpoint[RECORD]["config"]), DatasetInfo.from_plain(checkpoint[RECORD]["info"])
        for section in NAMED:
            named(config[section], section)
        config["seed"], config["trainer"].get("precision"), checkpoint["state_dict"].keys(), checkpoint["global_step"]
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise CheckpointError(
            f"{path} is no whole checkpoint of coatseg: its record cannot be read.",
            "Take last.ckpt, previous.ckpt or best.ckpt of a run.",
        ) from error
    return config, info
