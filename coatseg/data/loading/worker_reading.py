"""Read the samples of the draws of a step, with the truth that the task needs, in the worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from coatseg.data.images.statements.nodata import check_finite
from coatseg.data.loading.sampling import Draw
from coatseg.data.loading.subset import example
from coatseg.data.loading.worker_transfer import DrawnSamples
from coatseg.errors import CoatsegError
from coatseg.structures import Batch, Dataset, Sample


class DrawnSteps(torch.utils.data.Dataset[DrawnSamples | CoatsegError]):
    """Turns the draws of one optimizer step, or of one evaluation batch, into samples; runs in the worker processes.

    Truths that the task does not need are dropped first. `transform` augments draws that have a seed, `as_read` is
    applied to the others. An error is returned as a value: raised in a worker, it would arrive without its type and
    mend, and so is one for an image with values that are no numbers.
    """

    def __init__(
        self,
        dataset: Dataset,
        parts: int = 1,
        transform: Callable[[Sample, int], Sample] | None = None,
        needs: str | None = None,
        as_read: Callable[[Sample], Sample] | None = None,
    ) -> None:
        self.dataset = dataset
        self.parts = parts
        self.transform = transform
        self.needs = needs
        self.as_read = as_read

    def __getitem__(self, draws: list[Draw]) -> DrawnSamples | CoatsegError:
        try:
            samples = tuple(self._sample(draw) for draw in draws)
        except CoatsegError as error:
            return error
        return DrawnSamples(samples, tuple(draw.repeated for draw in draws), self.dataset.info, self.parts)

    def _sample(self, draw: Draw) -> Sample:
        if self.transform is None or draw.seed is None:
            sample = _finite(only_needed(self.dataset[draw.index], self.needs))
            return sample if self.as_read is None else self.as_read(sample)
        sample = _finite(only_needed(example(self.dataset, draw.index, draw.seed), self.needs))
        return self.transform(replace(sample, focus=draw.focus), draw.seed)


class Batches:
    """Iterates over single batches, `parts` for each item of the loader."""

    def __init__(self, loader: DataLoader[Any], parts: int = 1) -> None:
        self.loader = loader
        self.parts = parts

    def __len__(self) -> int:
        return len(self.loader) * self.parts

    def __iter__(self) -> Iterator[Batch]:
        for drawn in self.loader:
            if isinstance(drawn, CoatsegError):
                raise drawn
            yield from drawn.batches() if isinstance(drawn, DrawnSamples) else drawn  # if pinned, they are batches


def _finite(sample: Sample) -> Sample:
    """Return a sample, without where it has no data; raise ImageError if its image has values that are no numbers."""
    mend = "Give them a value, such as the mean; data=folder leaves nan out with data.nodata=nan."
    check_finite(sample.file or f"The image {sample.id}", sample.image, mend)
    return replace(sample, nodata=None)


def _bare(sample: Sample) -> Sample:
    return replace(sample, label_map=None, layers=None, instances=None, panoptic=None)


def _boxes(sample: Sample) -> Sample:
    instances = sample.instances
    if instances is not None and instances.masks is not None:
        # Average precision is also reported by the size of objects, which is the area of their masks.
        areas = instances.masks.sum((1, 2)).astype(np.float64) if instances.areas is None else instances.areas
        instances = replace(instances, masks=None, areas=areas)
    return replace(_bare(sample), instances=instances)


KEPT: Mapping[str, Callable[[Sample], Sample]] = MappingProxyType(
    {
        "semantic": lambda sample: replace(_bare(sample), label_map=sample.label_map),
        "multilabel": lambda sample: replace(_bare(sample), layers=sample.layers),
        "boxes": _boxes,
        "instances": lambda sample: replace(_bare(sample), instances=sample.instances),
        "panoptic": lambda sample: replace(_bare(sample), panoptic=sample.panoptic),
    }
)
"""For each truth that a task may need (see DatasetInfo.annotates), the function that keeps only that of a sample."""


def only_needed(sample: Sample, needs: str | None) -> Sample:
    """Return a sample with only the truth that a task `needs`; None, or an unknown kind of truth, keeps all."""
    keep = None if needs is None else KEPT.get(needs)
    return sample if keep is None else keep(sample)
