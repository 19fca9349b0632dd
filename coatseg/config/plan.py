"""What a configuration asks for, in types: every section a registered name with checked options, read once.

read.py makes a plan of a configuration; build.py and data.py make objects of a plan.
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
    """A registered name of a kind with options that fit its constructor; `key` is how the configuration calls it."""

    kind: str
    name: str
    options: Mapping[str, Any]
    constructor: Constructor
    key: str

    @classmethod
    def of(cls, kind: str, name: str, options: Options, key: str) -> Choice:
        """Look a name up and check its options.

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
        """Build the object from the options and from those parts of the context that its constructor asks for."""
        return construct(self.constructor, self.options, **context)


@dataclass(frozen=True)
class Deferred:
    """A section of one name that is read when it is needed, if it ever is.

    Such is a checkpoint's optimizer: to predict, the module that registers it need not be here.
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
    """A model and how it learns: everything of a configuration that does not depend on where the data lies.

    `losses` are choices with their weights. `auxiliary` is the second head of a training, and `auxiliary_weight` the
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
        """The model in a few words."""
        return f"{self.head.name} on {self.backbone.name}"

    def with_weights_from_elsewhere(self) -> TaskPlan:
        """Return the plan of the same model whose backbone's weights are not fetched, as a checkpoint brings them."""
        return replace(self, backbone=self.backbone.but(pretrained=False))

    def untrained(self) -> TaskPlan:
        """Return the plan of the same model for use alone: its weights come from elsewhere, and it has no run.

        The schedule that it was trained under may not fit a run of no length.
        """
        return replace(self.with_weights_from_elsewhere(), schedule=constant_schedule())


def constant_schedule() -> Choice:
    """Return the schedule of a task that is not trained."""
    return Choice.of("schedule", "constant", {}, "schedule")


@dataclass(frozen=True)
class DataPlan:
    """A dataset and how its samples become batches.

    `stated` are the dataset's own options as they were written, `loading` those of the data module with their types,
    `augmentations` the steps in their order.
    """

    dataset: Choice
    stated: Mapping[str, Any]
    loading: Mapping[str, Any]
    augmentations: tuple[Choice, ...]

    def split_of(self, name: str) -> str:
        """Return the split of the dataset that a run calls so: "train" is the one that trains, data.train_split."""
        return str(self.loading.get("train_split", name)) if name == "train" else name


@dataclass(frozen=True)
class Plan:
    """A whole configuration. `config` is the plain mapping that it was read from, which a checkpoint keeps."""

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
