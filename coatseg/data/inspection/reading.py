"""Read a whole dataset in several processes, and return the facts of its splits and the findings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from coatseg.data.annotations.classes import check_same_classes
from coatseg.data.inspection.checks.base import Finding
from coatseg.data.inspection.facts import SampleFacts, Unreadable, read_facts
from coatseg.data.inspection.findings import find, unopened
from coatseg.data.inspection.splits import SplitFacts
from coatseg.data.loading.module import as_is, one_thread
from coatseg.data.loading.subset import has_truth
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, DownloadError, SplitNotFoundError
from coatseg.registry.options import NonNegativeInt, PositiveInt
from coatseg.structures import Dataset, DatasetInfo

SPLITS = ("train", "val")
OPTIONAL = ("test",)
"""The splits that many datasets do not have."""
ABSENT = (ConfigError, DatasetNotFoundError, DownloadError, SplitNotFoundError)
"""The errors that a reader raises for a split that is missing; any other error means that the split is broken."""
MOST_WORKERS = 8

Progress = Callable[[str, int, int], None]
"""Called after each sample with the split, how many of its samples are done, and how many there are to do."""


@dataclass(frozen=True)
class Inspection:
    """The facts of a dataset, split by split, and the findings.

    `absent` maps each optional split that was looked for and is missing to the reason.
    """

    info: DatasetInfo
    splits: tuple[SplitFacts, ...]
    findings: tuple[Finding, ...]
    absent: dict[str, str]

    @property
    def broken(self) -> bool:
        """Whether anything is broken rather than only suspicious."""
        return any(finding.broken for finding in self.findings)


def inspect_dataset(
    dataset: Callable[[str], Dataset],
    splits: Sequence[str] | None = None,
    *,
    samples: PositiveInt | None = None,
    workers: NonNegativeInt | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Read the samples of the splits that `dataset` opens by name, and return what they hold and what is wrong.

    `splits` default to train and val, and test if there is one. At most `samples` of each split, evenly spread, are
    read. `workers` is the number of processes that read: None for one per core, up to eight; 0 for this process alone.

    Raises:
        ConfigError, DatasetNotFoundError: a split is unknown, or the files are missing.
        DatasetError: no split can be opened.
    """
    opened: dict[str, Dataset] = {}
    failures: dict[str, DatasetError] = {}
    absent: dict[str, str] = {}
    for name in (*SPLITS, *OPTIONAL) if splits is None else splits:
        try:
            split = dataset(name)
            check_same_classes(next(iter(opened.values()), split).info, split.info, name)
            opened[name] = split
        except ABSENT as error:
            if splits is None and name in OPTIONAL:
                absent[name] = error.what
            elif isinstance(error, DatasetError):
                failures[name] = error
            else:
                raise
        except DatasetError as error:
            failures[name] = error
    if not opened:
        raise next(iter(failures.values()))
    count = inspection_workers() if workers is None else workers
    read = [read_split(name, split, samples, count, progress) for name, split in opened.items()]
    broken = [unopened(name, error.what, error.mend) for name, error in failures.items()]
    return Inspection(read[0].info, tuple(read), (*broken, *find(read)), absent)


def read_split(
    name: str, dataset: Dataset, samples: int | None, workers: int, progress: Progress | None = None
) -> SplitFacts:
    """Read the samples of a split, at most `samples` of them, and return their facts."""
    indices = spread(len(dataset), samples)
    facts: list[SampleFacts] = []
    unreadable: list[Unreadable] = []
    for done, result in enumerate(_results(dataset, indices, workers), 1):
        if isinstance(result, Unreadable):
            unreadable.append(result)
        else:
            facts.append(result)
        if progress is not None:
            progress(name, done, len(indices))
    repairs = tuple(getattr(dataset, "repairs", ()))
    return SplitFacts(
        name,
        dataset.info,
        len(dataset),
        tuple(facts),
        tuple(unreadable),
        repairs,
        has_truth=has_truth(dataset),
    )


def spread(length: int, samples: int | None) -> list[int]:
    """Return at most `samples` of `length` indices, evenly spread and including the first and the last."""
    if samples is None or samples >= length:
        return list(range(length))
    return sorted(set(np.linspace(0, length - 1, samples).round().astype(int).tolist()))


def inspection_workers() -> int:
    """Return the number of reading processes: one per core, up to eight; 0, this process alone, on a single core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if cores == 1 else min(MOST_WORKERS, cores)


class _Facts(torch.utils.data.Dataset[SampleFacts | Unreadable]):
    """Reads the facts of samples in the worker processes."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> SampleFacts | Unreadable:
        return read_facts(self.dataset, index)


def _results(dataset: Dataset, indices: Sequence[int], workers: int) -> Iterator[SampleFacts | Unreadable]:
    loader: DataLoader[Any] = DataLoader(
        _Facts(dataset),
        sampler=indices,
        batch_size=None,
        collate_fn=as_is,
        num_workers=min(workers, len(indices)),
        worker_init_fn=one_thread,
    )
    try:
        yield from loader
    except RuntimeError as error:  # errors of a reader are results; this one means that a process was ended
        if "DataLoader worker" not in str(error):
            raise
        raise DatasetError(
            f"A process that read {dataset.info.name} was ended by the system.",
            "Mostly memory ran out: use fewer workers=, or workers=0 to see where it happens.",
        ) from error
