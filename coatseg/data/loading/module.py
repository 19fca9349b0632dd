"""Datasets to data loaders: the part of a run that knows processes, workers and accumulation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import cv2
import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from coatseg.data.images.resizing import Sides, resize_image, size_within
from coatseg.data.loading.balance import RareClasses, class_counts
from coatseg.data.loading.sampling import EvaluationStream, Groups, TrainingStream, steps_per_epoch
from coatseg.data.loading.steps import Batches, DrawnSteps
from coatseg.data.loading.subset import Limited, draws, lying
from coatseg.errors import ConfigError
from coatseg.registry.options import NonNegativeInt, PositiveFloat, PositiveInt
from coatseg.structures import Dataset, DatasetInfo, ObjectDataset, Sample

VERIFY_SECONDS = 4.0


class DataModule(lightning.LightningDataModule):
    """The loaders of a run.

    `dataset` makes the dataset of a split; `transform` augments a training sample from a seed; `info` states the
    facts; of the truths only what the task `needs` is kept (needs.py; None keeps all). `batch_size` is what one
    optimizer step sees, over all processes and accumulated batches. `evaluation_resize` is the [short, long] that
    images, but not their truths, are resized to in evaluation (None: as read): the shorter side is short then, unless
    the longer would pass long. `workers` are processes that read, None for a number that suits the machine. `limit`
    keeps the first samples of every split. `train_split` is the split of the dataset that trains, such as trainval.
    `rare_class_temperature` draws training samples for their classes, the rarer the more often (0.01 for much more, 1
    for hardly; None: every sample once an epoch), and has crops show them; see balance.py. With `group_by_shape` the
    images of a training step are all upright (square, too) or all lying, as read, so that little is padded.
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
        self.workers = default_workers() if workers is None else workers
        self.limit = limit
        self.train_split = train_split
        self.rare_class_temperature = rare_class_temperature
        self.group_by_shape = group_by_shape
        self.seed = seed
        self.needs = needs
        self._splits: dict[str, Dataset] = {}

    def split(self, name: str) -> Dataset:
        """Give the dataset of a split, read once; "train" is the one that trains."""
        if name not in self._splits:
            dataset = self.dataset(self.train_split if name == "train" else name)
            self._splits[name] = dataset if self.limit is None else Limited(dataset, self.limit)
        return self._splits[name]

    def verify(self, splits: Sequence[str], seconds: float = VERIFY_SECONDS) -> str:
        """Check files and label ranges for at most `seconds`, spread evenly, and say how many were checked."""
        checked = [verify_dataset(self.split(name), seconds / len(splits)) for name in splits]
        counts = (f"{count} of {len(self.split(name))} {name}" for name, count in zip(splits, checked, strict=True))
        return f"checked the files and labels of {', '.join(counts)} samples"

    def repairs(self, name: str) -> tuple[str, ...]:
        """Say what the reader of a split mended in its annotations or left out of them, a line each."""
        return tuple(getattr(self.split(name), "repairs", ()))

    def lacks_objects(self, name: str) -> bool:
        """Say whether a split is known, without decoding an image, to have no object to learn."""
        dataset = self.split(name)
        if self.needs not in ("boxes", "instances") or not isinstance(dataset, ObjectDataset):
            return False
        return all(dataset.has_objects(index) is False for index in range(len(dataset)))

    @cached_property
    def groups(self) -> Groups | None:
        """The group of each training sample, of which every step has one; None if all may meet.

        Raises:
            ConfigError: samples are drawn otherwise than each once an epoch, or their sizes are not known.
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
        """How many optimizer steps show the training split once.

        Raises:
            ConfigError: a batch cannot be filled, or images not be grouped.
        """
        return steps_per_epoch(len(self.split("train")), self.batch_size, self.groups)

    def train_dataloader(self) -> Batches:
        """Give the exact stream of augmented samples, one batch for each accumulated part of a step."""
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
        """Give the validation split."""
        return self.evaluation_dataloader("val")

    def evaluation_dataloader(self, split: str) -> Batches:
        """Give a split, every sample once: as read, or with its image resized."""
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
        """Refuse a batch size that processes and accumulated parts cannot share evenly."""
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
            # A generator of its own: iterating must not touch the global random state, which belongs to the model.
            generator=torch.Generator().manual_seed(self.seed),
        )


def with_image_resized(sample: Sample, sides: tuple[int, int]) -> Sample:
    """Resize the image alone, its shorter side to the first of `sides` unless the longer would pass the second."""
    height, width = sample.image.shape[:2]
    return replace(sample, image=resize_image(sample.image, size_within((height, width), *sides)))


def check_rare_classes(temperature: float | None, needs: str | None) -> None:
    """Refuse to draw the rarer classes more often for a task that `needs` objects."""
    if temperature is not None and needs in ("boxes", "instances"):
        raise ConfigError(
            "data.rare_class_temperature counts the pixels of classes, and the task learns from objects.",
            "Set data.rare_class_temperature=null.",
        )


def verify_dataset(dataset: Dataset, seconds: float) -> int:
    """Check samples for at most `seconds`, all of them if they are few, else spread evenly; give their number."""
    end = time.monotonic() + seconds
    order = np.random.default_rng(0).permutation(len(dataset)).tolist()
    for count, index in enumerate(order):
        if time.monotonic() > end:
            return count
        dataset.verify(index)
    return len(order)


def default_workers() -> int:
    """Give the number of reading processes: up to four beside an accelerator, a quarter of the cores that train.

    Where the CPU itself trains, a reader on one of few cores keeps the threads of every operation waiting.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, cores if torch.accelerator.is_available() else cores // 4)


def as_is(read: Any) -> Any:
    """Collate nothing."""
    return read


def one_thread(worker: int) -> None:
    """Keep a worker's libraries from taking the cores that train."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
