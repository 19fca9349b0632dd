"""A look at some samples before the first step: what an inspection finds in them is told, or stops the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coatseg.data.inspection.checks.base import Finding
from coatseg.data.inspection.facts import sample_facts
from coatseg.data.inspection.findings import find
from coatseg.data.inspection.splits import SplitFacts
from coatseg.data.loading.module import DataModule
from coatseg.data.loading.subset import draws, has_truth, is_generated, palette_of
from coatseg.data.loading.worker_reading import only_needed
from coatseg.errors import DatasetError
from coatseg.structures import Dataset

SECONDS = 4.0


@dataclass(frozen=True)
class FirstLook:
    """How many samples were checked, in words, and what is suspicious in them."""

    words: str
    findings: tuple[Finding, ...]


def look_first(data: DataModule, splits: Sequence[str], seconds: float = SECONDS) -> FirstLook:
    """Check samples of some splits as an inspection does, for at most `seconds`, spread evenly over the splits.

    Generated samples are right by themselves.

    Raises:
        CoatsegError: a sample cannot be read.
        DatasetError: something is broken in a sample, or nothing can be learnt from the train split.
    """
    for name in splits:
        _check_objects(data, name)
    read = [name for name in splits if not is_generated(data.split(name))]
    looked = [look_at(name, data.split(name), seconds / len(read), data.needs) for name in read]
    findings = find(looked) if looked else ()
    for finding in findings:
        if finding.broken:
            more = f", and {len(finding.where) - 1} more" if len(finding.where) > 1 else ""
            raise DatasetError(f"{data.info.name}: {finding.what} ({finding.where[0]}{more}).", finding.mend)
    counts = ", ".join(f"{len(split.samples)} of {split.total} {split.name}" for split in looked)
    words = f"checked the files and labels of {counts} samples" if looked else "samples are generated: none to check"
    return FirstLook(words, findings)


def look_at(name: str, dataset: Dataset, seconds: float, needs: str | None = None) -> SplitFacts:
    """Return the facts of samples in random order, with the truth that a task `needs`, for at most `seconds`.

    Raises:
        CoatsegError: a sample cannot be read.
    """
    end = time.monotonic() + seconds
    read = []
    for index in np.random.default_rng(0).permutation(len(dataset)).tolist():
        if time.monotonic() > end:
            break
        verified = dataset.verify(index)
        sample = only_needed(dataset[index] if verified is None else verified, needs)
        read.append(sample_facts(sample, index, dataset.info, palette_of(dataset, index)))
    read.sort(key=lambda facts: facts.index)
    return SplitFacts(
        name,
        dataset.info,
        len(dataset),
        tuple(read),
        (),
        (),
        whole=not draws(dataset),
        has_truth=has_truth(dataset),
    )


def _check_objects(data: DataModule, split: str) -> None:
    """Raise DatasetError if the split that is trained on states that it has no object to learn."""
    if split == "train" and data.lacks_objects(split):
        raise DatasetError(
            f"{data.info.name} train: no image has an object to learn; crowds and difficult objects are not learnt.",
            "Check the annotations; if crowds are single objects, set data.crowd=objects.",
        )
