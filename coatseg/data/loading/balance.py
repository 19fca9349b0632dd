"""Class-balanced sampling: rare classes are drawn more often, and crops show them.

This is the rare class sampling of DAFormer (Hoyer et al., CVPR 2022, section 3.2): first a class is drawn, then an
image that has it.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from coatseg.errors import DatasetError
from coatseg.structures import Dataset, Pixels

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RareClasses:
    """Draws (sample, class) pairs: a class by its probability, then one of the samples that have it, uniformly.

    `probabilities` (K,); `holders`, for each class the indices of the samples that have it.
    """

    probabilities: npt.NDArray[np.float64]
    holders: tuple[npt.NDArray[np.int64], ...]

    @classmethod
    def from_counts(cls, counts: Counts, temperature: float) -> RareClasses:
        """Make the sampler of classes by exp((1 - share of all labelled pixels) / temperature) (equation 5).

        `counts` (N, K) are the pixels of each class in each sample. Classes that no sample has are never drawn.

        Raises:
            DatasetError: no sample has a labelled pixel.
        """
        totals = counts.sum(0)
        if not totals.sum():
            raise DatasetError(
                "No training sample has a labelled pixel.", "Check the masks, or set data.rare_class_temperature=null."
            )
        exponents = np.where(totals > 0, (1 - totals / totals.sum()) / temperature, -np.inf)
        weights = np.exp(exponents - exponents.max())
        return cls(weights / weights.sum(), tuple(np.flatnonzero(column) for column in counts.T))

    def draw(self, seed: int, epoch: int, position: int) -> tuple[int, int]:
        """Return the sample and the class of one place in the stream, a pure function of the three numbers."""
        # The fourth number makes this draw independent of the augmentation's, which has the first three.
        random = np.random.default_rng([seed, epoch, position, 1])
        focus = int(random.choice(len(self.probabilities), p=self.probabilities))
        return int(random.choice(self.holders[focus])), focus


def class_counts(dataset: Dataset) -> Counts:
    """Count the labelled pixels of each class in each sample, (N, K); reads every label of the dataset once."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(partial(_counts_of, dataset), range(len(dataset)))))


def labels_of(dataset: Dataset, index: int) -> Pixels | None:
    """Return the label map (H, W) or layers (H, W, K) of a sample, without reading its image if the dataset can."""
    if hasattr(dataset, "labels"):
        alone: Pixels | None = dataset.labels(index)
        return alone
    sample = dataset[index]
    return sample.label_map if sample.layers is None else sample.layers


def _counts_of(dataset: Dataset, index: int) -> Counts:
    classes, labels = len(dataset.info.classes), labels_of(dataset, index)
    if labels is None:
        return np.zeros(classes, np.int64)
    if labels.ndim == 3:
        return np.asarray((labels == 1).sum(axis=(0, 1)), dtype=np.int64)
    labelled = labels[labels != dataset.info.ignore_index]
    return np.bincount(labelled, minlength=classes).astype(np.int64)
