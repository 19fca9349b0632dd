"""Read a configuration into a plan; every key and value is checked before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coatseg.config.combinations import check_head_fits, check_losses, check_trainer, check_window
from coatseg.config.data import loading_types, split_data_options
from coatseg.config.plan import Choice, DataPlan, Deferred, Plan, TaskPlan, constant_schedule
from coatseg.config.sections import named, present, without
from coatseg.data.loading.module import check_rare_classes
from coatseg.errors import ConfigError, nearest
from coatseg.registry.names import KINDS, constructor_of, load_plugins
from coatseg.registry.options import (
    NonNegativeInt,
    Options,
    PositiveFloat,
    check_options,
    construct,
    fitting,
    option_schema,
)
from coatseg.tasks.inference.options import Inference

SETTINGS: dict[str, Any] = {
    "name": str | None,
    "output": str,
    "resume": str | None,
    "seed": NonNegativeInt,
    "compile": bool,
    "plugins": list[str],
}
NEWER_SETTINGS: dict[str, Any] = {"keep_memory": bool, "weights": str | None}
"""Settings that the configurations of older checkpoints lack."""
CHOSEN = ("backbone", "head", "task", "optimizer", "schedule")
REQUIRED = (*SETTINGS, *CHOSEN, "callbacks", "logger", "data", "trainer")
SECTIONS = (*REQUIRED, *NEWER_SETTINGS, "loss", "auxiliary", "inference")

AUXILIARY_WEIGHT = 0.4
"""The factor of an auxiliary head's losses (PSPNet, Zhao et al., 2017, section 3.3)."""


def read(config: Options) -> Plan:
    """Read a whole configuration into a plan, section by section.

    Raises:
        ConfigError: a key or value is wrong; the first one is named, with the nearest valid choice.
    """
    _check_keys(config)
    load_plugins(config["plugins"])
    chosen = {key: choose(key, config[key]) for key in CHOSEN}
    auxiliary, auxiliary_weight = read_auxiliary(config.get("auxiliary"))
    inference = read_inference(config.get("inference"))
    callbacks = _keyed("callback", config["callbacks"], "callbacks")
    loggers = _keyed("logger", config["logger"], "logger")
    losses = _weighted_losses(config.get("loss"))
    if "checkpoints" not in {callback.name for callback in callbacks}:
        raise ConfigError("callbacks.checkpoints is off.", "A run needs them; set callbacks.checkpoints.every_steps.")
    task = TaskPlan(
        **chosen,
        auxiliary=auxiliary,
        auxiliary_weight=auxiliary_weight,
        losses=losses,
        inference=inference,
        seed=config["seed"],
    )
    check_head_fits(task)
    check_losses(task.losses, task.head)
    data = read_data(config["data"])
    check_rare_classes(config["data"].get("rare_class_temperature"), task.kind.needs)
    check_trainer(config["trainer"])
    return Plan(
        config=config,
        task=task,
        data=data,
        callbacks=callbacks,
        loggers=loggers,
        trainer=config["trainer"],
        name=config["name"],
        output=Path(config["output"]),
        resume=config["resume"],
        weights=config.get("weights"),
        seed=config["seed"],
        compile=config["compile"],
        keep_memory=config.get("keep_memory", True),
    )


def _check_keys(config: Options) -> None:
    """Raise ConfigError if a key is unknown or missing, or a setting does not fit."""
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


def read_untrained(config: Options) -> TaskPlan:
    """Read the plan of a checkpoint's task for use without training; sections that its model does not need stay unread.

    Raises:
        ConfigError: a name is unknown, or an option does not fit; the first one is named.
    """
    auxiliary, weight = read_auxiliary(config.get("auxiliary"))
    return TaskPlan(
        task=choose("task", config["task"]),
        backbone=choose("backbone", {**config["backbone"], "pretrained": False}),
        head=choose("head", config["head"]),
        optimizer=Deferred("optimizer", config["optimizer"]),
        schedule=constant_schedule(),
        auxiliary=auxiliary,
        auxiliary_weight=weight,
        losses=_weighted_losses(config.get("loss")),
        inference=read_inference(config.get("inference")),
        seed=config["seed"],
    )


def choose(kind: str, section: Any, key: str | None = None) -> Choice:
    """Read a section that names one registered thing, such as head, with its options.

    Raises:
        ConfigError: it names none, the name is unknown, or an option does not fit.
    """
    name, options = named(section, key or kind)
    return Choice.of(kind, name, options, key or kind)


def read_auxiliary(section: Options | None) -> tuple[Choice | None, float]:
    """Return the auxiliary head and the weight of its losses; None and 0 without a section.

    Raises:
        ConfigError: an option is unknown or does not fit.
    """
    if section is None:
        return None, 0.0
    name, options = named(section, "auxiliary")
    known = [*option_schema(constructor_of("head", name, "auxiliary"), KINDS["head"].given), "weight"]
    for option in options:
        if option not in known:
            raise ConfigError(f"auxiliary.{option} is no option of {name}.", nearest(option, known))
    choice = Choice.of("head", name, without(options, "weight"), "auxiliary")
    return choice, fitting(options.get("weight", AUXILIARY_WEIGHT), PositiveFloat, "auxiliary.weight")


def read_inference(section: Options | None) -> Inference:
    """Return how to infer; without a section, as in older checkpoints, on whole images.

    Raises:
        ConfigError: an option is unknown or does not fit.
    """
    if not isinstance(section, Mapping | None):
        raise ConfigError(f"inference={section} does not fit.", "Choose inference=NAME, or set inference.KEY=VALUE.")
    checked = check_options(Inference, section or {}, given=frozenset(), name="inference", key="inference")
    inference: Inference = construct(Inference, checked)
    return inference


def read_data(section: Options, *, trains: bool = True) -> DataPlan:
    """Read the data section: options of the dataset, of its loading and, if it `trains`, of how samples are augmented.

    Raises:
        ConfigError: an option is unknown, does not fit, or does not go with another.
    """
    name, options = named(section, "data")
    own, loading = split_data_options(options)
    types = loading_types()
    schema = option_schema(constructor_of("dataset", name, "data"), KINDS["dataset"].given)
    known = [*schema, *types, "augmentations"]
    for option in own if trains else ():
        if option not in known:
            raise ConfigError(f"data.{option} is no option of {name} or of its loading.", nearest(option, known))
    dataset = Choice.of("dataset", name, own, "data")
    steps = dict(present(options.get("augmentations") or {})) if trains else {}
    augmentations = tuple(
        Choice.of("augmentation", step, step_options, f"data.augmentations.{step}")
        for step, step_options in steps.items()
    )
    if trains:
        check_window(own.get("window"), steps.get("crop", {}).get("size"), loading.get("train_split", "train"))
    typed = {option: fitting(value, types[option], f"data.{option}") for option, value in loading.items()}
    return DataPlan(dataset, own, typed, augmentations)


def _keyed(kind: str, section: Any, key: str) -> tuple[Choice, ...]:
    """Read a section whose keys are names of one kind."""
    return tuple(Choice.of(kind, name, options, f"{key}.{name}") for name, options in present(section or {}, key))


def _weighted_losses(section: Any) -> tuple[tuple[Choice, Any], ...]:
    """Return the losses with their weights, as they are written: `check_losses` checks the weights."""
    return tuple(
        (Choice.of("loss", name, without(options, "weight"), f"loss.{name}"), options.get("weight", 1.0))
        for name, options in present(section or {}, "loss")
    )
