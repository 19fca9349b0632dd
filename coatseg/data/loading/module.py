"""The data module: makes data loaders of datasets, for several processes, workers and accumulated batches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import cv2
import lightning
import torch
from torch.utils.data import DataLoader

from coatseg.data.images.resizing import Sides, resize_image, size_within
from coatseg.data.loading.balance import RareClasses, class_counts
from coatseg.data.loading.sampling import EvaluationStream, Groups, TrainingStream, steps_per_epoch
from coatseg.data.loading.subset import Limited, draws, has_truth, lying
from coatseg.data.loading.worker_reading import Batches, DrawnSteps
from coatseg.errors import ConfigError
from coatseg.registry.options import NonNegativeInt, PositiveFloat, PositiveInt
from coatseg.structures import (
    PREDICTION_KINDS,
    Dataset,
    DatasetInfo,
    InstancePrediction,
    ObjectDataset,
    Sample,
)

OBJECT_TRUTHS = frozenset(kind.truth for kind in PREDICTION_KINDS if kind.prediction is InstancePrediction)
"""The truths from which objects are learnt, and no classes of pixels."""


class DataModule(lightning.LightningDataModule):
    """The data loaders of a run.

    `dataset` makes the dataset of a split; `transform` augments a training sample from a seed; `info` states the facts;
    of the truths only the one that the task `needs` is kept (see worker_reading.py; None keeps all). `batch_size` is
    the number of samples of one optimizer step, over all processes and accumulated batches. `evaluation_resize` is the
    [short, long] that images, but not their truths, are resized to in evaluation (None: not resized): the shorter side
    becomes short, unless the longer would exceed long. `workers` is the number of processes that read, None for one
    that suits the machine. `limit` keeps the first samples of every split. `train_split` is the split of the dataset
    that is trained on, such as trainval. `rare_class_temperature` draws training samples by their classes, rarer ones
    more often (much more at 0.01, hardly at 1; None: every sample once an epoch), and makes crops show these classes;
    see balance.py. With `group_by_shape` the images of a training step are all portrait or square, or all landscape, as
    read, so that little is padded.
    """

    def __init__(
        self,
        dataset: Callable[[str], Dataset],
        transform: Callable[[Sample, int], Sample],
        info: DatasetInfo,
        *,
        batch_size: PositiveInt = 8,
        evaluation_batch_size: PositiveInt = 1,
        evaluation_resize: Sides | None = None,
        workers: NonNegativeInt | None = None,
        limit: PositiveInt | None = None,
        train_split: str = "train",
        rare_class_temperature: PositiveFloat | None = None,
        group_by_shape: bool = False,
        seed: int = 0,
        needs: str | None = None,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.transform = transform
        self.info = info
        self.batch_size = batch_size
        self.evaluation_batch_size = evaluation_batch_size
        self.evaluation_resize = evaluation_resize
        self.workers = loading_workers() if workers is None else workers
        self.limit = limit
        self.train_split = train_split
        self.rare_class_temperature = rare_class_temperature
        self.group_by_shape = group_by_shape
        self.seed = seed
        self.needs = needs
        self._splits: dict[str, Dataset] = {}

    def split(self, name: str) -> Dataset:
        """Return the dataset of a split, which is read once; "train" is the split that is trained on."""
        if name not in self._splits:
            dataset = self.dataset(self.train_split if name == "train" else name)
            self._splits[name] = dataset if self.limit is None else Limited(dataset, self.limit)
        return self._splits[name]

    def repairs(self, name: str) -> tuple[str, ...]:
        """Return lines on what the reader of a split mended in its annotations or left out of them."""
        return tuple(getattr(self.split(name), "repairs", ()))

    def lacks_truth(self, name: str) -> bool:
        """Return whether a split has images and no annotations, as the test splits of servers."""
        return not has_truth(self.split(name))

    def lacks_objects(self, name: str) -> bool:
        """Return whether a split is known, without decoding an image, to have no object to learn."""
        dataset = self.split(name)
        if self.needs not in OBJECT_TRUTHS or not isinstance(dataset, ObjectDataset):
            return False
        return all(dataset.has_objects(index) is False for index in range(len(dataset)))

    @cached_property
    def groups(self) -> Groups | None:
        """The group of each training sample; a step has samples of one group. None if they are not grouped.

        Raises:
            ConfigError: samples are not drawn exactly once an epoch, or their sizes are not known.
        """
        dataset = self.split("train")
        if not self.group_by_shape:
            return None
        if draws(dataset) or self.rare_class_temperature is not None:
            other = "data.window" if draws(dataset) else "data.rare_class_temperature"
            raise ConfigError(
                f"data.group_by_shape groups whole images, each once an epoch, and {other} draws others.",
                "Leave one of the two out.",
            )
        return lying(dataset)

    @property
    def steps_per_epoch(self) -> int:
        """The number of optimizer steps in an epoch of the training split.

        Raises:
            ConfigError: a batch cannot be filled, or images cannot be grouped.
        """
        return steps_per_epoch(len(self.split("train")), self.batch_size, self.groups)

    def train_dataloader(self) -> Batches:
        """Return the exact stream of augmented samples, with one batch for each accumulated part of a step."""
        trainer = self._trainer()
        parts = trainer.accumulate_grad_batches
        dataset = self.split("train")
        stream = TrainingStream(
            len(dataset),
            batch_size=self.batch_size,
            seed=self.seed,
            first_step=lambda: trainer.global_step,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            rare_classes=self._rare_classes(dataset),
            groups=self.groups,
        )
        return Batches(self._loader(DrawnSteps(dataset, parts, self.transform, self.needs), stream), parts)

    def _rare_classes(self, dataset: Dataset) -> RareClasses | None:
        if self.rare_class_temperature is None:
            return None
        check_rare_classes(self.rare_class_temperature, self.needs)
        if draws(dataset):
            raise ConfigError(
                "data.rare_class_temperature counts the classes of whole images, and data.window draws windows.",
                "Leave one of the two out.",
            )
        return RareClasses.from_counts(class_counts(dataset), self.rare_class_temperature)

    def val_dataloader(self) -> Batches:
        """Return the batches of the validation split."""
        return self.evaluation_dataloader("val")

    def evaluation_dataloader(self, split: str) -> Batches:
        """Return the batches of a split with every sample once, as read or with its image resized."""
        trainer = self._trainer()
        dataset = self.split(split)
        stream = EvaluationStream(
            len(dataset),
            batch_size=self.evaluation_batch_size,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        resized = None if self.evaluation_resize is None else partial(with_image_resized, sides=self.evaluation_resize)
        return Batches(self._loader(DrawnSteps(dataset, as_read=resized, needs=self.needs), stream))

    def _trainer(self) -> lightning.Trainer:
        if self.trainer is None:
            raise RuntimeError("the data module is not attached to a trainer")
        return self.trainer

    def check_shares(self, world_size: int, parts: int) -> None:
        """Raise ConfigError if the batch size cannot be divided evenly among processes and accumulated parts."""
        shares = world_size * parts
        if self.batch_size % shares:
            legal = max(1, round(self.batch_size / shares)) * shares
            raise ConfigError(
                f"data.batch_size={self.batch_size} does not divide by {world_size} process(es) times {parts} part(s).",
                f"It is the total of one optimizer step: set a multiple of {shares}, such as data.batch_size={legal}.",
            )

    def _loader(self, steps: DrawnSteps, stream: TrainingStream | EvaluationStream) -> DataLoader[Any]:
        return DataLoader(
            steps,
            sampler=stream,
            batch_size=None,
            collate_fn=as_is,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=one_thread,
            # Its own generator: iterating must not change the global random state, which belongs to the model.
            generator=torch.Generator().manual_seed(self.seed),
        )


def with_image_resized(sample: Sample, sides: tuple[int, int]) -> Sample:
    """Resize only the image, its shorter side to the first of `sides` unless the longer would exceed the second."""
    height, width = sample.image.shape[:2]
    return replace(sample, image=resize_image(sample.image, size_within((height, width), *sides)))


def check_rare_classes(temperature: float | None, needs: str | None) -> None:
    """Raise ConfigError if rare classes are to be drawn more often for a task that `needs` objects."""
    if temperature is not None and needs in OBJECT_TRUTHS:
        raise ConfigError(
            "data.rare_class_temperature counts the pixels of classes, and the task learns from objects.",
            "Set data.rare_class_temperature=null.",
        )


def loading_workers() -> int:
    """Return the number of reading processes: up to four with an accelerator, else a quarter of the cores.

    Where the CPU itself trains, a reader on one of few cores makes every operation wait for its thread on that core.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, cores if torch.accelerator.is_available() else cores // 4)


def as_is(read: Any) -> Any:
    """Return what was read unchanged, for a loader that is not to collate."""
    return read


def one_thread(worker: int) -> None:
    """Limit a worker's libraries to one thread, so that they leave the cores to training."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
