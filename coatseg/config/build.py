"""Build the data, the model and the task of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from coatseg.config.data import build_data
from coatseg.config.plan import Choice, Plan, TaskPlan
from coatseg.data.annotations.classes import check_same_classes
from coatseg.data.inspection.checks.nothing_to_learn import ONE_CLASS
from coatseg.data.loading.module import DataModule
from coatseg.errors import ConfigError, DatasetError
from coatseg.losses.base import WeightedSum
from coatseg.models.backbones.coat import CoaT
from coatseg.models.detector import Detector
from coatseg.models.model import Model
from coatseg.models.unused_parameters import Probed, freeze_unused
from coatseg.registry.options import Options
from coatseg.structures import LOGITS, DatasetInfo
from coatseg.tasks.base import Task

NEAREST = {
    "semantic": "data=folder reads masks of classes",
    "multilabel": "data=folder has multilabel labels with data.layers=true",
    "boxes": "data=coco_json, yolo and labelme have boxes, data=cityscapes with data.instances=true",
    "instances": "data=coco_json and labelme have instances, data=cityscapes, coco_panoptic and panoptic_json with "
    "data.instances=true",
    "panoptic": "data=scenes, coco_panoptic and panoptic_json have panoptic labels, data=cityscapes and ade20k with "
    "data.panoptic=true",
}
"""For the truth that a task needs, where data is that has it."""


@dataclass(frozen=True)
class Built:
    """The data and the task of a run, and its number of optimizer steps."""

    data: DataModule
    task: Task
    total_steps: int


def build(plan: Plan) -> Built:
    """Build the data and the task of a run.

    Raises:
        ConfigError: the data has no labels for the task, a single class or no validation sample, or the run no end.
        DatasetNotFoundError, DatasetError: files of the data are missing or wrong, or lack the truth.
        WeightsError: the backbone's weights cannot be had, or do not fit.
    """
    data = build_data(plan)
    for split in ("train", "val"):  # a split of objects may lack the masks that another has
        check_task_fits(plan.task.task, data.split(split).info, data.repairs(split))
        check_truth(data, split)
    check_tells_apart(plan.task.task, data.info)
    check_same_classes(data.info, data.split("val").info, "val")
    if not len(data.split("val")):
        raise ConfigError(f"data={data.info.name} has no validation sample.", "A run is judged by its val split.")
    epoch = data.steps_per_epoch
    total = total_steps(plan.trainer, epoch)
    return Built(data, build_task(plan.task, data.info, total, epoch), total)


def check_truth(data: DataModule, split: str) -> None:
    """Raise DatasetError if a split cannot be learnt from or scored, since it has images and no annotations."""
    if data.lacks_truth(split):
        raise DatasetError(
            f"The {split} split of data={data.info.name} has images and no annotations.",
            "Name the json of annotated images; coatseg evaluate with output=DIR writes what is found on others.",
        )


def build_task(plan: TaskPlan, info: DatasetInfo, total: int, epoch: int = 1) -> Task:
    """Build a task: model, losses, and an optimizer with a schedule for `total` steps, `epoch` of them in an epoch."""
    task: Task = plan.task.make(
        model=build_model(plan, info),
        info=info,
        loss=WeightedSum(
            {loss.name: loss.make(info=info) for loss, _ in plan.losses},
            {loss.name: float(weight) for loss, weight in plan.losses},
        ),
        optimizer=lambda model: plan.optimizer.make(model=model),
        schedule=plan.schedule.make(total=total, epoch=epoch),
        seed=plan.seed,
        auxiliary_weight=plan.auxiliary_weight,
        inference=plan.inference,
    )
    return task


def build_model(plan: TaskPlan, info: DatasetInfo) -> Probed:
    """Build backbone and heads for the channels and classes of a dataset; parameters that nothing uses are frozen."""
    backbone = plan.backbone.make(in_channels=info.channels)
    numbers, takes = plan.kind.class_numbers(info), plan.kind.takes
    context: dict[str, Any] = {
        "levels": backbone.levels,
        "classes": len(numbers),
        "things": tuple(place for place, number in enumerate(numbers) if number in info.things),
        "output": takes,
    }
    heads = [choice.make(**context) for choice in (plan.head, plan.auxiliary) if choice is not None]
    model = Model(backbone, *heads) if takes == LOGITS else Detector(backbone, heads[0])
    freeze_unused(model, info.channels)
    if isinstance(backbone, CoaT):  # which then skips the levels that no head uses
        used = [getattr(head, "levels_used", len(backbone.levels)) for head in heads]
        backbone.choose_levels(backbone.out_indices[: max(used)])
    return model


def check_task_fits(task: Choice, info: DatasetInfo, repairs: Sequence[str] = ()) -> None:
    """Raise if the dataset has no labels for the task; `repairs` of its annotations may explain why.

    Raises:
        ConfigError: it says which labels the dataset has.
    """
    needs = task.constructor.needs  # type: ignore[attr-defined]  # what is registered as a task is one's class
    if needs not in info.annotates:
        found = f" Its reader found {', '.join(repairs)}." if repairs else ""
        nearest = NEAREST.get(needs)  # a task of one's own may need what we do not know
        raise ConfigError(
            f"task={task.name} needs {needs} labels; data={info.name} has {', '.join(sorted(info.annotates))}.{found}",
            f"Choose a task that these labels serve, or other data{f': {nearest}' if nearest else ''}.",
        )


def check_tells_apart(task: Choice, info: DatasetInfo) -> None:
    """Raise ConfigError if the task chooses one class for each pixel, and the dataset has only one."""
    if task.constructor.needs == "semantic" and len(info.classes) == 1:  # type: ignore[attr-defined]  # as above
        raise ConfigError(f"data={info.name} has a single class, {info.classes[0]}, to tell from nothing.", ONE_CLASS)


def total_steps(trainer: Options, steps_per_epoch: int) -> int:
    """Return the number of optimizer steps that max_epochs and max_steps allow, whichever is less.

    Raises:
        ConfigError: neither ends the run.
    """
    steps, epochs = trainer.get("max_steps", -1), trainer.get("max_epochs")
    limits = [
        limit
        for limit in (steps, None if epochs in (None, -1) else epochs * steps_per_epoch)
        if limit not in (None, -1)
    ]
    if not limits or min(limits) <= 0:
        raise ConfigError("The run has no step or no end.", "Set trainer.max_epochs or trainer.max_steps.")
    return int(min(limits))
