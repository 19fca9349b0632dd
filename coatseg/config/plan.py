"""The plan of a run: a configuration as typed objects, read once, each section a registered name with checked options.

read.py reads a configuration into a plan; build.py and data.py build the objects of a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coatseg.config.sections import named
from coatseg.registry.names import checked
from coatseg.registry.options import Constructor, Options, construct

if TYPE_CHECKING:
    from coatseg.tasks.base import Task
    from coatseg.tasks.inference.options import Inference


@dataclass(frozen=True)
class Choice:
    """A registered name of a kind, with options that fit its constructor; `key` is the section's key, for errors."""

    kind: str
    name: str
    options: Mapping[str, Any]
    constructor: Constructor
    key: str

    @classmethod
    def of(cls, kind: str, name: str, options: Options, key: str) -> Choice:
        """Return the choice of a registered name, with its options checked.

        Raises:
            ConfigError: the name is unknown, or an option is unknown, missing or does not fit.
        """
        constructor, fitting = checked(kind, name, options, key)
        return cls(kind, name, fitting, constructor, key)

    def but(self, **options: Any) -> Choice:
        """Return the same choice with some options changed.

        Raises:
            ConfigError: as `of`.
        """
        return self.of(self.kind, self.name, {**self.options, **options}, self.key)

    def make(self, **context: Any) -> Any:
        """Build the object from the options and from those arguments of `context` that its constructor takes."""
        return construct(self.constructor, self.options, **context)


@dataclass(frozen=True)
class Deferred:
    """A section that is read only when its object is built, such as the optimizer of a checkpoint.

    To predict, the user's module that registers the optimizer is then not needed.
    """

    kind: str
    section: Options

    def make(self, **context: Any) -> Any:
        """Read the section, and build the object as a choice does.

        Raises:
            ConfigError: the name is unknown, or an option does not fit.
        """
        name, options = named(self.section, self.kind)
        return Choice.of(self.kind, name, options, self.kind).make(**context)


@dataclass(frozen=True)
class TaskPlan:
    """The plan of a model and its training: the configuration without its data and the settings of the run.

    `losses` are choices with their weights. `auxiliary` is a second head for training, and `auxiliary_weight` the
    factor of its losses, 0 without one.
    """

    task: Choice
    backbone: Choice
    head: Choice
    auxiliary: Choice | None
    auxiliary_weight: float
    losses: tuple[tuple[Choice, float], ...]
    optimizer: Choice | Deferred
    schedule: Choice
    inference: Inference
    seed: int

    @property
    def kind(self) -> type[Task]:
        """The class of the task."""
        return self.task.constructor  # type: ignore[return-value]  # what is registered as a task is one's class

    @property
    def title(self) -> str:
        """The model in a few words, such as: upernet on coat_small."""
        return f"{self.head.name} on {self.backbone.name}"

    def with_weights_from_elsewhere(self) -> TaskPlan:
        """Return this plan without the backbone's pretrained weights, as all weights come from a checkpoint."""
        return replace(self, backbone=self.backbone.but(pretrained=False))

    def untrained(self) -> TaskPlan:
        """Return this plan for a model that is used but not trained: no pretrained weights, and a constant schedule.

        The schedule of its training may not fit a run without steps.
        """
        return replace(self.with_weights_from_elsewhere(), schedule=constant_schedule())


def constant_schedule() -> Choice:
    """Return the schedule for a task that is not trained."""
    return Choice.of("schedule", "constant", {}, "schedule")


@dataclass(frozen=True)
class DataPlan:
    """The plan of a dataset and of how its samples become batches.

    `stated` are the dataset's own options as written, `loading` those of the data module, converted to their types,
    `augmentations` the steps in their order.
    """

    dataset: Choice
    stated: Mapping[str, Any]
    loading: Mapping[str, Any]
    augmentations: tuple[Choice, ...]

    def split_of(self, name: str) -> str:
        """Return the dataset's name for a split of the run: data.train_split for "train", the same name for others."""
        return str(self.loading.get("train_split", name)) if name == "train" else name


@dataclass(frozen=True)
class Plan:
    """The plan of a whole run. `config` is the plain mapping that it was read from, which checkpoints keep."""

    config: Options
    task: TaskPlan
    data: DataPlan
    callbacks: tuple[Choice, ...]
    loggers: tuple[Choice, ...]
    trainer: Mapping[str, Any]
    name: str | None
    output: Path
    resume: str | None
    weights: str | None
    seed: int
    compile: bool
    keep_memory: bool
