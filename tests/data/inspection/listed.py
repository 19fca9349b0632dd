"""Datasets of samples in a list, and what an inspection finds in them."""

from __future__ import annotations

import numpy as np

from coatseg.data.inspection import Inspection, inspect_dataset
from coatseg.structures import Dataset, DatasetInfo, Instances, Sample

INFO = DatasetInfo(
    "own",
    ("ground", "thing"),
    ((0, 0, 0), (255, 0, 0)),
    frozenset({"semantic", "instances", "boxes"}),
    mean=(0.5,) * 3,
    std=(0.1,) * 3,
    things=(1,),
)


class Listed:
    """A dataset of samples in a list; an entry that is an error is raised."""

    def __init__(self, *samples: Sample | Exception, info: DatasetInfo = INFO, repairs: tuple[str, ...] = ()) -> None:
        self.samples = samples
        self.info = info
        self.repairs = repairs

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        if isinstance(sample, Exception):
            raise sample
        return sample

    def verify(self, index: int) -> None:
        self[index]


def noise(seed: int, size: tuple[int, int] = (8, 10), dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(90, 166, (*size, 3)).astype(dtype)


def sample(name: str, *, seed: int | None = None, labels: object = None, **parts: object) -> Sample:
    image = parts.pop("image", noise(len(name) * 97 + ord(name[0]) if seed is None else seed))
    size = image.shape[:2]
    full = np.zeros(size, np.uint8)
    full[:2] = 1
    return Sample(name, image, size, label_map=full if labels is None else labels, **parts)


def objects(*boxes: tuple[float, ...], labels: tuple[int, ...], masks: np.ndarray | None = None) -> Instances:
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), masks, np.zeros(len(boxes), bool)
    )  # fmt: skip


def inspected(*splits: Dataset, **options: object) -> Inspection:
    names = ("train", "val", "test")[: len(splits)]
    opened = dict(zip(names, splits, strict=True))
    return inspect_dataset(opened.__getitem__, names, workers=0, **options)


def found(inspection: Inspection, what: str) -> tuple[str, ...]:
    """Give the places of the one finding that says `what`."""
    (finding,) = [finding for finding in inspection.findings if what in finding.what]
    return finding.where
