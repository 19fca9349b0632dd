"""Checks a whole composed configuration, every key and value, before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

import lightning

from coatseg.config.build import (
    AUXILIARY_WEIGHT,
    CONTEXT,
    TABLES,
    build_inference,
    constructor_of,
    gives,
    load_plugins,
    split_data_options,
    task_class,
)
from coatseg.config.sections import auxiliary_section, named, present, without
from coatseg.data.loading.module import DataModule, check_rare_classes
from coatseg.errors import ConfigError, listed, nearest
from coatseg.registry.options import (
    NonNegativeFloat,
    NonNegativeInt,
    Options,
    PositiveFloat,
    PositiveInt,
    check_options,
    fitting,
    option_schema,
)
from coatseg.tasks.base import Task
from coatseg.training.trainer import AUTO, PRECISIONS, SHORT_PRECISIONS

SETTINGS: dict[str, Any] = {
    "name": str | None,
    "output": str,
    "resume": str | None,
    "seed": NonNegativeInt,
    "compile": bool,
    "plugins": list[str],
}
NEWER_SETTINGS: dict[str, Any] = {"keep_memory": bool, "weights": str | None}
"""Those that the configuration of an older checkpoint does not have."""
NAMED = ("backbone", "head", "task", "optimizer", "schedule")
KEYED = {"callbacks": "callback", "logger": "logger", "loss": "loss"}
REQUIRED = (*SETTINGS, *NAMED, "callbacks", "logger", "data", "trainer")
SECTIONS = (*REQUIRED, *NEWER_SETTINGS, "loss", "auxiliary", "inference")

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


def check(config: Options) -> None:
    """Check every section.

    Raises:
        ConfigError: the first key or value that cannot be, with the nearest valid choice.
    """
    for key in config:
        if key not in SECTIONS:
            raise ConfigError(f"{key} is no key of the configuration.", nearest(key, SECTIONS))
    for key in REQUIRED:
        if key not in config:
            raise ConfigError(f"{key} is missing from the configuration.", f"Leave ~{key} out.")
    for key, hint in SETTINGS.items():
        fitting(config.get(key), hint, key)
    for key, hint in NEWER_SETTINGS.items():
        if key in config:
            fitting(config[key], hint, key)
    load_plugins(config["plugins"])
    for key in NAMED:
        name, options = named(config[key], key)
        check_named(key, name, options, key)
    _check_auxiliary(auxiliary_section(config))
    build_inference(config.get("inference"))
    for section, kind in KEYED.items():
        for name, options in present(config.get(section) or {}, section):
            check_named(kind, name, without(options, "weight") if kind == "loss" else options, f"{section}.{name}")
    if "checkpoints" not in dict(present(config["callbacks"])):
        raise ConfigError("callbacks.checkpoints is off.", "A run needs them; set callbacks.checkpoints.every_steps.")
    _check_head_fits(config)
    _check_losses(config.get("loss"), task_class(config))
    check_data(config["data"])
    check_rare_classes(config["data"].get("rare_class_temperature"), task_class(config).needs)
    _check_trainer(config["trainer"])


def check_named(kind: str, name: str, options: Options, key: str) -> None:
    """Check the options of one registered name."""
    check_options(constructor_of(kind, name, key), options, given=CONTEXT[kind], name=name, key=key)


def _check_auxiliary(section: Options | None) -> None:
    if section is not None:
        name, options = named(section, "auxiliary")
        constructor = constructor_of("head", name, "auxiliary")
        known = [*option_schema(constructor, CONTEXT["head"]), "weight"]
        for option in options:
            if option not in known:
                raise ConfigError(f"auxiliary.{option} is no option of {name}.", nearest(option, known))
        check_named("head", name, without(options, "weight"), "auxiliary")
        fitting(options.get("weight", AUXILIARY_WEIGHT), PositiveFloat, "auxiliary.weight")


def _check_head_fits(config: Options) -> None:
    """Refuse a head that does not give what the task takes, and a second one where there is no use for it."""
    (task, _), (head, _) = named(config["task"], "task"), named(config["head"], "head")
    takes = task_class(config).takes
    if takes not in gives(head):
        fitting_heads = sorted(name for name in TABLES["head"] if takes in gives(name))
        raise ConfigError(
            f"head={head} gives {listed(sorted(gives(head)))}; the task {task} takes {takes}.",
            f"Choose one of these heads: {', '.join(fitting_heads)}.",
        )
    if takes == "logits":
        return
    if auxiliary_section(config) is not None:
        raise ConfigError(f"auxiliary: the task {task} has no use for a second head.", "Leave auxiliary out.")
    inference = build_inference(config.get("inference"))
    if not inference.plain:
        raise ConfigError(f"inference: {inference.words}; detectors see whole images, once.", "Set inference=whole.")


def _check_losses(section: Options | None, task: type[Task]) -> None:
    losses = dict(present(section or {}))
    if task.takes != "logits":
        if losses:
            raise ConfigError(f"loss.{next(iter(losses))}: detectors bring losses of their own.", "Leave loss out.")
        return
    if not losses:
        raise ConfigError(
            "loss names no loss.",
            "Choose loss=NAME, or add one as loss.NAME={}; python train.py --help lists the files.",
        )
    for name, options in losses.items():
        fitting(options.get("weight", 1.0), NonNegativeFloat, f"loss.{name}.weight")
    if not any(float(options.get("weight", 1.0)) for options in losses.values()):
        raise ConfigError("Every loss has the weight 0.", f"Set loss.{next(iter(losses))}.weight=1.")


def check_data(section: Options) -> None:
    """Check the section of a dataset: its own options, those of loading, and the augmentations."""
    name, options = named(section, "data")
    own, loading = split_data_options(options)
    constructor = constructor_of("dataset", name, "data")
    schema = option_schema(DataModule, CONTEXT["loading"])
    known = [*option_schema(constructor, CONTEXT["dataset"]), *schema, "augmentations"]
    for option in own:
        if option not in known:
            raise ConfigError(f"data.{option} is no option of {name} or of its loading.", nearest(option, known))
    check_named("dataset", name, own, "data")
    for step, step_options in present(options.get("augmentations") or {}):
        check_named("augmentation", step, step_options, f"data.augmentations.{step}")
    _check_window(own.get("window"), dict(present(options.get("augmentations") or {})).get("crop", {}).get("size"))
    if own.get("window") is not None and loading.get("train_split", "train") != "train":
        raise ConfigError(
            f"data.window draws windows of the split train, and data.train_split={loading['train_split']}.",
            "Leave one of the two out.",
        )
    hints = get_type_hints(DataModule.__init__, include_extras=True)
    for option, value in loading.items():
        fitting(value, hints[option], f"data.{option}")


def _check_window(window: Any, crop: Any) -> None:
    """Refuse windows that cannot fill the crop that is cut of them."""
    sizes = isinstance(window, Sequence) and isinstance(crop, Sequence)
    if sizes and any(have < want for have, want in zip(window, crop, strict=False)):
        raise ConfigError(
            f"data.window={list(window)} is smaller than data.augmentations.crop.size={list(crop)}.",
            "A crop is cut of a window: make the window at least as large, twice that where scale shrinks to 0.5.",
        )


TRAINER_TYPES: dict[str, Any] = {
    "max_epochs": int | None,
    "max_steps": int,
    "accumulate_grad_batches": PositiveInt,
    "gradient_clip_val": NonNegativeFloat | None,
}


def _check_trainer(options: Any) -> None:
    """Check the names of the Trainer's arguments, and those values that coatseg computes with."""
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
