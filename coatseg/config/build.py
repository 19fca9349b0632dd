"""The table of names, and what turns a configuration into objects.

A configuration and a checkpoint hold registered names and plain keywords, never code: here alone they become objects.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import lightning
from lightning.pytorch.loggers import Logger

from coatseg.config.sections import auxiliary_section, named, present, without
from coatseg.data.annotations.classes import check_same_classes
from coatseg.data.augmentations import transform as transforms
from coatseg.data.datasets.ade20k import ADE20K
from coatseg.data.datasets.camvid import CamVid
from coatseg.data.datasets.cityscapes import Cityscapes
from coatseg.data.datasets.coco import Coco
from coatseg.data.datasets.coco_json import CocoJson
from coatseg.data.datasets.coco_panoptic import CocoPanoptic
from coatseg.data.datasets.coco_stuff import CocoStuff
from coatseg.data.datasets.folder import Folder
from coatseg.data.datasets.instance_masks import InstanceMasks
from coatseg.data.datasets.voc import VOC
from coatseg.data.datasets.voc_boxes import VOCBoxes
from coatseg.data.loading.module import DataModule
from coatseg.data.loading.subset import Limited
from coatseg.errors import ConfigError, nearest
from coatseg.losses.base import WeightedSum
from coatseg.losses.cross_entropy import CrossEntropy
from coatseg.losses.dice import Dice
from coatseg.losses.focal import Focal
from coatseg.losses.lovasz import Lovasz
from coatseg.losses.ohem import OhemCrossEntropy
from coatseg.losses.tversky import Tversky
from coatseg.models.backbones import coat, timm
from coatseg.models.detector import Detector
from coatseg.models.heads.detection import cascade, one_stage
from coatseg.models.heads.detection import rcnn as two_stage
from coatseg.models.heads.detection.base import DetectionHead
from coatseg.models.heads.semantic import deeplab as deeplabv3
from coatseg.models.heads.semantic import deeplab as deeplabv3plus
from coatseg.models.heads.semantic import (
    dpt,
    fcn,
    fpn,
    linknet,
    manet,
    pan,
    pspnet,
    segformer,
    unet,
    unetplusplus,
    upernet,
)
from coatseg.models.model import Model
from coatseg.models.probing import Probed, freeze_unused
from coatseg.registry.options import (
    Constructor,
    Options,
    check_options,
    construct,
    fitting,
    function_of,
    option_schema,
)
from coatseg.scenes import Scenes
from coatseg.structures import Backbone, Dataset, DatasetInfo
from coatseg.tasks.base import Task
from coatseg.tasks.detection import DetectionTask, InstanceTask
from coatseg.tasks.inference.options import Inference
from coatseg.tasks.multilabel import MultilabelTask
from coatseg.tasks.semantic import SemanticTask
from coatseg.training.callbacks.averaging import Averaging
from coatseg.training.callbacks.checkpoints import Checkpoints
from coatseg.training.callbacks.pictures import ValidationPictures
from coatseg.training.callbacks.stopping import Stopping
from coatseg.training.callbacks.worst import WorstImages
from coatseg.training.optimization import optimizers, schedules
from coatseg.training.records import loggers

Registered = TypeVar("Registered", bound=Constructor)


TABLES: dict[str, dict[str, Constructor]] = {
    "backbone": {
        **{name: partial(coat.create_backbone, name) for name in coat.VARIANTS},
        "timm": timm.create_backbone,
    },
    "head": {
        "unet": unet.unet,
        "unetplusplus": unetplusplus.unetplusplus,
        "manet": manet.manet,
        "linknet": linknet.linknet,
        "fpn": fpn.fpn,
        "pspnet": pspnet.pspnet,
        "pan": pan.pan,
        "upernet": upernet.upernet,
        "segformer": segformer.segformer,
        "dpt": dpt.dpt,
        "deeplabv3": deeplabv3.deeplabv3,
        "deeplabv3plus": deeplabv3plus.deeplabv3plus,
        "fcn": fcn.fcn,
        "faster_rcnn": two_stage.faster_rcnn,
        "mask_rcnn": two_stage.mask_rcnn,
        "cascade_rcnn": cascade.cascade_rcnn,
        "cascade_mask_rcnn": cascade.cascade_mask_rcnn,
        "retinanet": one_stage.retinanet,
        "fcos": one_stage.fcos,
    },
    "dataset": {
        "scenes": Scenes,
        "camvid": CamVid,
        "folder": Folder,
        "ade20k": ADE20K,
        "cityscapes": Cityscapes,
        "voc": VOC,
        "coco_panoptic": CocoPanoptic,
        "coco_stuff": CocoStuff,
        "coco": Coco,
        "coco_json": CocoJson,
        "voc_boxes": VOCBoxes,
        "instance_masks": InstanceMasks,
    },
    "augmentation": dict(transforms.AUGMENTATIONS),
    "loss": {
        "cross_entropy": CrossEntropy,
        "dice": Dice,
        "focal": Focal,
        "lovasz": Lovasz,
        "ohem": OhemCrossEntropy,
        "tversky": Tversky,
    },
    "optimizer": {"adamw": optimizers.adamw, "sgd": optimizers.sgd},
    "schedule": {
        "poly": schedules.poly,
        "cosine": schedules.cosine,
        "multistep": schedules.multistep,
        "onecycle": schedules.onecycle,
        "constant": schedules.constant,
    },
    "task": {
        "semantic": SemanticTask,
        "multilabel": MultilabelTask,
        "detection": DetectionTask,
        "instance": InstanceTask,
    },
    "callback": {
        "checkpoints": Checkpoints,
        "pictures": ValidationPictures,
        "worst": WorstImages,
        "ema": Averaging,
        "early_stopping": Stopping,
    },
    "logger": {"tensorboard": loggers.tensorboard, "wandb": loggers.wandb, "mlflow": loggers.mlflow},
}

CONTEXT: dict[str, frozenset[str]] = {
    "backbone": frozenset({"in_channels"}),
    "head": frozenset({"levels", "classes"}),
    "dataset": frozenset({"split"}),
    "augmentation": frozenset({"info"}),
    "loss": frozenset({"info"}),
    "optimizer": frozenset({"model"}),
    "schedule": frozenset({"total", "epoch"}),
    "task": frozenset({"model", "info", "loss", "optimizer", "schedule", "seed", "auxiliary_weight", "inference"}),
    "callback": frozenset({"checkpoints", "pictures", "info", "monitor", "record"}),
    "logger": frozenset({"run"}),
    "loading": frozenset({"dataset", "transform", "info", "seed", "needs"}),
}
"""For each kind, the arguments that the program gives; all others are options of the configuration."""


DRAWING = ("window", "windows_per_image")
"""The options of datasets that make training samples of parts of images."""


AUXILIARY_WEIGHT = 0.4
"""The factor of an auxiliary head's losses (PSPNet, Zhao et al., 2017, section 3.3)."""


@dataclass(frozen=True)
class Built:
    """What a configuration describes."""

    data: DataModule
    task: Task
    total_steps: int


def register(kind: str, name: str) -> Callable[[Registered], Registered]:
    """Add a constructor of one's own to the table, as a decorator: `@coatseg.register("head", "mine")`.

    Raises:
        ConfigError: the kind is unknown, or the name is taken by another constructor.
    """
    table = _table(kind)

    def add(constructor: Registered) -> Registered:
        if name in table and table[name] is not constructor:
            raise ConfigError(f"A {kind} called {name} is registered already.", "Choose another name.")
        table[name] = constructor
        return constructor

    return add


def list_backbones() -> list[str]:
    """Name every backbone that `create_backbone` takes."""
    return sorted(TABLES["backbone"])


def create_backbone(name: str, pretrained: bool | str | Path = False, **options: Any) -> Backbone:
    """Build a backbone by name: images (B, C, H, W) to a list of feature maps, described by `.levels`.

    `pretrained` is False, True (the catalogue) or the path of a weights file. Other options are the constructor's
    own, such as in_channels, drop_path or co_scale; for "timm", model.

    Raises:
        ConfigError: the name or an option is unknown.
        WeightsError: the weights cannot be had, or do not fit.
    """
    constructor = constructor_of("backbone", name)
    options = {"pretrained": pretrained, **options} if pretrained else options
    checked = check_options(constructor, options, given=frozenset(), name=name, key="create_backbone")
    backbone: Backbone = construct(constructor, checked)
    return backbone


def constructor_of(kind: str, name: str, key: str | None = None) -> Constructor:
    """Look a name up; `key` is how the configuration calls the place."""
    table = _table(kind)
    if name not in table:
        raise ConfigError(f"{key or kind}={name} is unknown.", nearest(str(name), table))
    return table[name]


def make(kind: str, name: str, options: Options, key: str, **context: Any) -> Any:
    """Build the object of a name from its options and from those parts of the context that it asks for."""
    constructor = constructor_of(kind, name, key)
    checked = check_options(constructor, options, given=CONTEXT[kind], name=name, key=key)
    return construct(constructor, checked, **context)


def build(config: Options) -> Built:
    """Turn a checked configuration into the data and the task."""
    data = build_data(config)
    for split in ("train", "val"):  # a split of objects may lack the masks that another has
        check_task_fits(config, data.split(split).info, data.repairs(split))
    check_same_classes(data.info, data.split("val").info, "val")
    if not len(data.split("val")):
        raise ConfigError(f"data={data.info.name} has no validation sample.", "A run is judged by its val split.")
    epoch = data.steps_per_epoch
    total = total_steps(config["trainer"], epoch)
    return Built(data, build_task(config, data.info, total, epoch), total)


def build_data(config: Options, split: str = "train") -> DataModule:
    """Build the data module; the dataset of `split`, where "train" is the one that trains, states the facts."""
    _, options = named(config["data"], "data")
    loading = loading_options(config["data"])
    dataset = dataset_opener(config["data"])
    info = dataset(loading.get("train_split", split) if split == "train" else split).info
    steps = [
        make("augmentation", step, step_options, f"data.augmentations.{step}", info=info)
        for step, step_options in present(options.get("augmentations") or {})
    ]
    task, _ = named(config["task"], "task")
    needs = getattr(constructor_of("task", task), "needs", None)
    return DataModule(dataset, transforms.Transform(steps, info), info, **loading, seed=config["seed"], needs=needs)


def dataset_opener(section: Options) -> Callable[[str], Dataset]:
    """Give what opens the dataset of a data section, split by split, each once."""
    name, options = named(section, "data")
    own, _ = split_data_options(options)

    @cache  # the lists of files are read once
    def dataset(split: str) -> Dataset:
        made: Dataset = make("dataset", name, own, "data", split=split)
        return made

    return dataset


def loading_options(section: Options) -> dict[str, Any]:
    """Give the options of loading among those of a data section, with their types.

    Raises:
        ConfigError: one does not fit.
    """
    hints = get_type_hints(DataModule.__init__, include_extras=True)
    typed = split_data_options(named(section, "data")[1])[1]
    return {option: fitting(value, hints[option], f"data.{option}") for option, value in typed.items()}


def open_split(section: Options, split: str) -> Dataset:
    """Open a split of a data section image by image: each whole and once, as evaluation sees it.

    "train" is the split that trains, data.train_split; data.limit keeps its first images; data.window draws nothing.

    Raises:
        ConfigError, DatasetNotFoundError, DatasetError: an option or the split is unknown, or its files are not right.
    """
    name, options = named(section, "data")
    constructor = constructor_of("dataset", name, "data")
    own, _ = split_data_options(options)
    checked = check_options(constructor, own, given=CONTEXT["dataset"], name=name, key="data")
    whole = {option: value for option, value in checked.items() if option not in DRAWING}
    loading = loading_options(section)
    asked = loading.get("train_split", split) if split == "train" else split
    dataset: Dataset = make("dataset", name, whole, "data", split=asked)
    limit = loading.get("limit")
    return dataset if limit is None else Limited(dataset, limit)


def build_task(config: Options, info: DatasetInfo, total: int, epoch: int = 1) -> Task:
    """Build the model, its losses, and what optimises them over `total` steps, `epoch` of them in an epoch."""
    optimizer, optimizer_options = named(config["optimizer"], "optimizer")
    schedule, schedule_options = named(config["schedule"], "schedule")
    losses = dict(present(config.get("loss") or {}))
    auxiliary = auxiliary_section(config)
    task: Task = make(
        "task",
        *named(config["task"], "task"),
        "task",
        model=build_model(config, info),
        info=info,
        loss=WeightedSum(
            {
                name: make("loss", name, without(options, "weight"), f"loss.{name}", info=info)
                for name, options in losses.items()
            },
            {name: float(options.get("weight", 1.0)) for name, options in losses.items()},
        ),
        optimizer=lambda model: make("optimizer", optimizer, optimizer_options, "optimizer", model=model),
        schedule=make("schedule", schedule, schedule_options, "schedule", total=total, epoch=epoch),
        seed=config["seed"],
        auxiliary_weight=0.0 if auxiliary is None else float(auxiliary.get("weight", AUXILIARY_WEIGHT)),
        inference=build_inference(config.get("inference")),
    )
    return task


def build_inference(section: Options | None) -> Inference:
    """Build the way to infer; without a section, as in older checkpoints, every image goes whole.

    Raises:
        ConfigError: an option is unknown or does not fit.
    """
    if not isinstance(section, Mapping | None):
        raise ConfigError(f"inference={section} does not fit.", "Choose inference=NAME, or set inference.KEY=VALUE.")
    checked = check_options(Inference, section or {}, given=frozenset(), name="inference", key="inference")
    inference: Inference = construct(Inference, checked)
    return inference


def build_model(config: Options, info: DatasetInfo) -> Probed:
    """Build backbone and heads for the channels and classes of a dataset; parameters without use are frozen."""
    backbone = make("backbone", *named(config["backbone"], "backbone"), "backbone", in_channels=info.channels)
    context = {"levels": backbone.levels, "classes": len(task_class(config).class_numbers(info))}
    head = make("head", *named(config["head"], "head"), "head", **context)
    heads = [head]
    if (section := auxiliary_section(config)) is not None:
        name, options = named(section, "auxiliary")
        heads.append(make("head", name, without(options, "weight"), "auxiliary", **context))
    model = Detector(backbone, head) if isinstance(head, DetectionHead) else Model(backbone, *heads)
    freeze_unused(model, info.channels)
    if isinstance(backbone, coat.CoaT):  # which need not compute what no head looks at
        used = [getattr(part, "levels_used", len(backbone.levels)) for part in heads]
        backbone.choose_levels(backbone.out_indices[: max(used)])
    return model


def task_class(config: Options) -> type[Task]:
    """Give the class of the configuration's task."""
    task: type[Task] = constructor_of("task", named(config["task"], "task")[0])  # type: ignore[assignment]
    return task


def gives(head: str, key: str = "head") -> frozenset[str]:
    """Say what a head gives to a task: "logits", or what its class states as `gives`."""
    constructor = constructor_of("head", head, key)
    made = constructor if isinstance(constructor, type) else get_type_hints(function_of(constructor)).get("return")
    given: frozenset[str] = getattr(made, "gives", frozenset({"logits"}))
    return given


def build_callbacks(config: Options, **context: Any) -> list[lightning.Callback]:
    """Build the callbacks of a run."""
    return [
        make("callback", name, options, f"callbacks.{name}", **context)
        for name, options in present(config["callbacks"])
    ]


def build_loggers(config: Options, run: Path) -> list[Logger]:
    """Build the loggers of a run."""
    return [make("logger", name, options, f"logger.{name}", run=run) for name, options in present(config["logger"])]


def check_task_fits(config: Options, info: DatasetInfo, repairs: Sequence[str] = ()) -> None:
    """Refuse a task that the dataset has no labels for; `repairs` of its annotations may tell why."""
    name, _ = named(config["task"], "task")
    needs = task_class(config).needs
    if needs not in info.annotates:
        found = f" Its reader found {', '.join(repairs)}." if repairs else ""
        raise ConfigError(
            f"task={name} needs {needs} labels; data={info.name} has {', '.join(sorted(info.annotates))}.{found}",
            "Choose a task that these labels serve, or other data; data=folder has multilabel with data.layers=true, "
            "data=cityscapes has instances with data.instances=true.",
        )


def total_steps(trainer: Options, steps_per_epoch: int) -> int:
    """Give the number of optimizer steps that max_epochs and max_steps allow, whichever is less."""
    steps, epochs = trainer.get("max_steps", -1), trainer.get("max_epochs")
    limits = [
        limit
        for limit in (steps, None if epochs in (None, -1) else epochs * steps_per_epoch)
        if limit not in (None, -1)
    ]
    if not limits or min(limits) <= 0:
        raise ConfigError("The run has no step or no end.", "Set trainer.max_epochs or trainer.max_steps.")
    return int(min(limits))


def load_plugins(names: list[str]) -> None:
    """Import the modules that register constructors of the user's own; the current folder is searched too."""
    if names and "" not in sys.path:
        sys.path.insert(0, "")
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"plugins: cannot import {name}: {error}.", "Name a module on PYTHONPATH or in this folder."
            ) from error


def split_data_options(options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the options of the data section into the dataset's own and those of loading; augmentations are neither."""
    loading = option_schema(DataModule, CONTEXT["loading"])
    own = {name: value for name, value in options.items() if name not in loading and name != "augmentations"}
    return own, {name: value for name, value in options.items() if name in loading}


def _table(kind: str) -> dict[str, Constructor]:
    if kind not in TABLES:
        raise ConfigError(f"{kind} is no kind of thing that has names.", nearest(kind, TABLES))
    return TABLES[kind]
