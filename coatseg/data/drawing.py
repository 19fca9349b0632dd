"""Draws to samples, in the worker processes, and from there to batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader

from coatseg.data.limited import example
from coatseg.data.needs import only_needed
from coatseg.data.sampling import Draw
from coatseg.data.transit import DrawnSamples
from coatseg.errors import CoatsegError
from coatseg.structures import Batch, Dataset, Sample


class DrawnSteps(torch.utils.data.Dataset[DrawnSamples | CoatsegError]):
    """Turns the draws of one optimizer step, or of one evaluation batch, into samples; runs in the worker processes.

    Truths that the task does not need are dropped first. `transform` augments draws that have a seed, `as_read` is
    applied to the others. An error comes back as a value: raised in a worker, it would lose its type and mend on the
    way.
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
            sample = only_needed(self.dataset[draw.index], self.needs)
            return sample if self.as_read is None else self.as_read(sample)
        sample = only_needed(example(self.dataset, draw.index, draw.seed), self.needs)
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
            yield from drawn.batches() if isinstance(drawn, DrawnSamples) else drawn  # pinned ones are batches already
