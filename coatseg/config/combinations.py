"""Checks of what has to go together: head and task, losses and task, windows and crops, and the trainer's arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

import lightning

from coatseg.config.plan import Choice, TaskPlan
from coatseg.errors import ConfigError, listed, nearest
from coatseg.registry.names import constructor_of, table
from coatseg.registry.options import Constructor, NonNegativeFloat, PositiveInt, fitting, function_of
from coatseg.structures import LOGITS, PREDICTION_KINDS, TASK_CHOICES
from coatseg.training.trainer import AUTO, PRECISIONS, SHORT_PRECISIONS

RESERVED_TRAINER = {
    "limit_train_batches": "Use data.limit for fewer samples.",
    "limit_val_batches": "Use data.limit for fewer samples.",
    "overfit_batches": "Use data.limit for fewer samples.",
    "fast_dev_run": "Use data.limit and trainer.max_steps for a short run.",
    **dict.fromkeys(
        (
            "callbacks",
            "logger",
            "default_root_dir",
            "plugins",
            "use_distributed_sampler",
            "enable_checkpointing",
            "enable_progress_bar",
            "enable_model_summary",
            "barebones",
            "model_registry",
            "reload_dataloaders_every_n_epochs",
            "inference_mode",
        ),
        "Leave it out.",
    ),
}
"""Arguments of lightning.Trainer that coatseg sets itself, or that would break the exact sample stream."""

TRAINER_TYPES: dict[str, Any] = {
    "max_epochs": int | None,
    "max_steps": int,
    "accumulate_grad_batches": PositiveInt,
    "gradient_clip_val": NonNegativeFloat | None,
}


def gives(head: str) -> frozenset[str]:
    """Return what a head outputs for a task: "logits", or what its class states as `gives`.

    Raises:
        ConfigError: the name is unknown.
    """
    return given_by(constructor_of("head", head))


def given_by(constructor: Constructor) -> frozenset[str]:
    """Return what the heads that a constructor builds output for a task."""
    given: frozenset[str] = getattr(_built_by(constructor), "gives", frozenset({LOGITS}))
    return given


def _built_by(constructor: Constructor) -> Any:
    """Return the class of what a constructor builds, by what it states to return; None if it states nothing."""
    return constructor if isinstance(constructor, type) else get_type_hints(function_of(constructor)).get("return")


def brings_losses(constructor: Constructor) -> bool:
    """Return whether the heads that a constructor builds have losses of their own, as those that state `gives` do."""
    return hasattr(_built_by(constructor), "gives")


def task_for(given: frozenset[str]) -> str:
    """Return the file of conf/task whose task takes what a head gives; of several, the first in PREDICTION_KINDS."""
    return next(TASK_CHOICES[kind.output] for kind in PREDICTION_KINDS if kind.output in given)


def check_head_fits(plan: TaskPlan) -> None:
    """Raise if the head does not output what the task takes, or has no use for an auxiliary head, windows or views.

    Raises:
        ConfigError: it names the heads that would fit, or the section to change.
    """
    takes, given = plan.kind.takes, given_by(plan.head.constructor)
    if takes not in given:
        fitting_heads = sorted(name for name, head in table("head").items() if takes in given_by(head))
        raise ConfigError(
            f"head={plan.head.name} gives {listed(sorted(given))}; the task {plan.task.name} takes {takes}.",
            f"Choose one of these heads: {', '.join(fitting_heads)}.",
        )
    own = brings_losses(plan.head.constructor)
    if own and plan.kind.needs == "multilabel":
        raise ConfigError(
            f"head={plan.head.name} gives every pixel one class, and the task multilabel any number of them.",
            "Choose a head that learns by a loss of your choice, such as head=fpn.",
        )
    if own and plan.auxiliary is not None:
        who = (
            f"head={plan.head.name}, which has losses of its own," if takes == LOGITS else f"the task {plan.task.name}"
        )
        raise ConfigError(f"auxiliary: {who} has no use for a second head.", "Leave auxiliary out.")
    if takes == LOGITS:
        return
    if not plan.inference.plain:
        raise ConfigError(
            f"inference: {plan.inference.words}; head={plan.head.name} sees whole images, once.", "Set inference=whole."
        )


def check_losses(losses: Sequence[tuple[Choice, Any]], head: Choice) -> None:
    """Raise if losses are chosen for a head that brings its own, or no loss with a weight for a head that needs one.

    Raises:
        ConfigError: it says which loss is wrong, or how to choose one.
    """
    if brings_losses(head.constructor):
        if losses:
            raise ConfigError(f"{losses[0][0].key}: head={head.name} brings losses of its own.", "Leave loss out.")
        return
    if not losses:
        raise ConfigError(
            "loss names no loss.",
            "Choose loss=NAME, or add one as loss.NAME={}; python train.py --help lists the files.",
        )
    for loss, weight in losses:
        fitting(weight, NonNegativeFloat, f"{loss.key}.weight")
    if not any(float(weight) for _, weight in losses):
        raise ConfigError("Every loss has the weight 0.", f"Set {losses[0][0].key}.weight=1.")


def check_window(window: Any, crop: Any, train_split: str) -> None:
    """Raise if windows are smaller than the crops cut from them, or are set while another split than "train" trains.

    Raises:
        ConfigError: it says which of the options to change.
    """
    sizes = isinstance(window, Sequence) and isinstance(crop, Sequence)
    if sizes and any(have < want for have, want in zip(window, crop, strict=False)):
        raise ConfigError(
            f"data.window={list(window)} is smaller than data.augmentations.crop.size={list(crop)}.",
            "A crop is cut of a window: make the window at least as large, twice that where scale shrinks to 0.5.",
        )
    if window is not None and train_split != "train":
        raise ConfigError(
            f"data.window draws windows of the split train, and data.train_split={train_split}.",
            "Leave one of the two out.",
        )


def check_trainer(options: Any) -> None:
    """Raise if an argument of the Trainer is unknown or reserved, or has a value that coatseg cannot compute with.

    Raises:
        ConfigError: it names the argument and what to do about it.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(f"trainer={options} does not fit.", "Choose trainer=default, and set trainer.KEY=VALUE.")
    for name, hint in TRAINER_TYPES.items():
        if name in options:
            fitting(options[name], hint, f"trainer.{name}")
    precision = options.get("precision", AUTO)
    if precision not in (*PRECISIONS, *SHORT_PRECISIONS):
        raise ConfigError(f"trainer.precision={precision} is unknown.", nearest(str(precision), PRECISIONS))
    parts, interval = options.get("accumulate_grad_batches", 1), options.get("val_check_interval") or 1.0
    if parts > 1 and interval != 1.0 and (not isinstance(interval, int) or interval % parts):
        raise ConfigError(
            f"trainer.val_check_interval={interval} may fall into the middle of an accumulated step.",
            f"It counts batches: set a multiple of trainer.accumulate_grad_batches={parts}.",
        )
    known = [name for name in inspect.signature(lightning.Trainer.__init__).parameters if name != "self"]
    for name in options:
        if name in RESERVED_TRAINER:
            raise ConfigError(f"trainer.{name} is coatseg's own business.", RESERVED_TRAINER[name])
        if name not in known:
            raise ConfigError(f"trainer.{name} is no argument of lightning.Trainer.", nearest(name, known))
