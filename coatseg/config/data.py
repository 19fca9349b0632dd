"""Build the readers and the data module that the data section of a plan describes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, get_type_hints

from coatseg.config.plan import DataPlan, Plan
from coatseg.data.augmentations.transform import Transform
from coatseg.data.loading.module import DataModule
from coatseg.data.loading.subset import Limited
from coatseg.registry.options import Options, construct, option_schema
from coatseg.structures import Dataset

LOADING_GIVEN = frozenset({"dataset", "transform", "info", "seed", "needs"})
"""The arguments of the data module that the program passes; all others are options of the data section."""
DRAWING = ("window", "windows_per_image")
"""The options of datasets that draw training samples from parts of images."""


def loading_types() -> dict[str, Any]:
    """Return the types of the options in a data section that belong to loading, by name."""
    hints = get_type_hints(DataModule.__init__, include_extras=True)
    return {name: hints[name] for name in option_schema(DataModule, LOADING_GIVEN)}


def split_data_options(options: Options) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the options of a data section into the dataset's own and those of loading, without the augmentations."""
    loading = option_schema(DataModule, LOADING_GIVEN)
    own = {name: value for name, value in options.items() if name not in loading and name != "augmentations"}
    return own, {name: value for name, value in options.items() if name in loading}


def build_data(plan: Plan, split: str = "train") -> DataModule:
    """Build the data module, with the kind of labels that the task needs; the dataset of `split` states the facts.

    Raises:
        ConfigError, DatasetNotFoundError, DatasetError: the split is unknown, or its files are missing or wrong.
    """
    dataset = dataset_opener(plan.data)
    info = dataset(plan.data.split_of(split)).info
    transform = Transform([step.make(info=info) for step in plan.data.augmentations], info)
    return DataModule(dataset, transform, info, **plan.data.loading, seed=plan.seed, needs=plan.task.kind.needs)


def dataset_opener(plan: DataPlan) -> Callable[[str], Dataset]:
    """Return a function that opens the dataset's splits by name, each once."""

    @cache  # the lists of files are read once
    def dataset(split: str) -> Dataset:
        made: Dataset = plan.dataset.make(split=split)
        return made

    return dataset


def open_split(plan: DataPlan, split: str) -> Dataset:
    """Open a split to read each of its images whole and once, as evaluation does.

    "train" is the split named by data.train_split; data.limit keeps the first images; data.window has no effect.

    Raises:
        ConfigError, DatasetNotFoundError, DatasetError: the split is unknown, or its files are missing or wrong.
    """
    whole = {option: value for option, value in plan.dataset.options.items() if option not in DRAWING}
    dataset: Dataset = construct(plan.dataset.constructor, whole, split=plan.split_of(split))
    limit = plan.loading.get("limit")
    return dataset if limit is None else Limited(dataset, limit)
