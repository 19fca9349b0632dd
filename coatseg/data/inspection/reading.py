"""Reading a whole dataset in several processes, and what comes out of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from coatseg.data.annotations.classes import check_same_classes
from coatseg.data.inspection.facts import SampleFacts, Unreadable, read_facts
from coatseg.data.inspection.findings import Finding, find, unopened
from coatseg.data.inspection.splits import SplitFacts
from coatseg.data.loading.module import as_is, one_thread
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, DownloadError, SplitNotFoundError
from coatseg.registry.options import NonNegativeInt, PositiveInt
from coatseg.structures import Dataset, DatasetInfo

SPLITS = ("train", "val")
OPTIONAL = ("test",)
"""A split that many datasets do not have."""
ABSENT = (ConfigError, DatasetNotFoundError, DownloadError, SplitNotFoundError)
"""What a reader raises of a split that is not there; any other error is of one that is, and broken."""
MOST_WORKERS = 8

Progress = Callable[[str, int, int], None]
"""Is told after each sample: the split, how many of its samples are done, and how many there are to do."""


@dataclass(frozen=True)
class Inspection:
    """What is in a dataset, split by split, and what was found to be wrong.

    `absent` says of the splits that were looked for unasked why they are not there.
    """

    info: DatasetInfo
    splits: tuple[SplitFacts, ...]
    findings: tuple[Finding, ...]
    absent: dict[str, str]

    @property
    def broken(self) -> bool:
        """Whether anything is broken, and not only suspicious."""
        return any(finding.broken for finding in self.findings)


def inspect_dataset(
    dataset: Callable[[str], Dataset],
    splits: Sequence[str] | None = None,
    *,
    samples: PositiveInt | None = None,
    workers: NonNegativeInt | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Read the samples of the splits that `dataset` opens by name, and say what is in them and what is wrong.

    `splits` default to train and val, and test if there is one. Of each split at most `samples`, evenly spread, are
    read. `workers` are processes that read, None for one a core and 0 for this process alone.

    Raises:
        ConfigError, DatasetNotFoundError: a split is unknown, or the files are not there.
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
    count = default_workers() if workers is None else workers
    read = [read_split(name, split, samples, count, progress) for name, split in opened.items()]
    broken = [unopened(name, error.what, error.mend) for name, error in failures.items()]
    return Inspection(read[0].info, tuple(read), (*broken, *find(read)), absent)


def read_split(
    name: str, dataset: Dataset, samples: int | None, workers: int, progress: Progress | None = None
) -> SplitFacts:
    """Read the samples of a split, at most `samples` of them."""
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
    return SplitFacts(name, dataset.info, len(dataset), tuple(facts), tuple(unreadable), repairs)


def spread(length: int, samples: int | None) -> list[int]:
    """Choose at most `samples` of `length` indices, evenly spread, the first and the last among them."""
    if samples is None or samples >= length:
        return list(range(length))
    return sorted(set(np.linspace(0, length - 1, samples).round().astype(int).tolist()))


def default_workers() -> int:
    """Give the number of reading processes: one a core, up to eight; none besides this one on a single core."""
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
    except RuntimeError as error:  # all that a reader raises is a result; this is a process that ended
        if "DataLoader worker" not in str(error):
            raise
        raise DatasetError(
            f"A process that read {dataset.info.name} was ended by the system.",
            "Mostly memory ran out: use fewer workers=, or workers=0 to see where it happens.",
        ) from error
