"""The first samples of a dataset, and the optional abilities of datasets: to draw examples, to know sizes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from coatseg.data.loading.balance import labels_of
from coatseg.errors import ConfigError
from coatseg.structures import Colour, Dataset, ObjectDataset, Pixels, RandomDataset, Sample, Size, SizedDataset


class Limited:
    """The dataset of the first `limit` samples of another."""

    def __init__(self, dataset: Dataset, limit: int) -> None:
        self.dataset = dataset
        self.limit = limit
        self.info = dataset.info
        self.draws = draws(dataset)
        self.generated = is_generated(dataset)
        self.repairs: tuple[str, ...] = getattr(dataset, "repairs", ())
        self.has_truth = has_truth(dataset)

    def __len__(self) -> int:
        return min(self.limit, len(self.dataset))

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[index]

    def drawn(self, index: int, seed: int) -> Sample:
        """Return a training example of one sample, a function of index and seed."""
        return example(self.dataset, index, seed)

    def labels(self, index: int) -> Pixels | None:
        """Return the label map or layers of one sample (see `labels_of`)."""
        return labels_of(self.dataset, index)

    def size(self, index: int) -> Size:
        """Return the (height, width) of one sample; raises ConfigError if the dataset does not know it."""
        return size_of(self.dataset, index)

    def has_objects(self, index: int) -> bool | None:
        """Return whether one sample has an object to learn; None if the dataset does not know it."""
        return self.dataset.has_objects(index) if isinstance(self.dataset, ObjectDataset) else None

    def verify(self, index: int) -> Sample | None:
        """Check the files and labels of one sample; return it if it was read for that."""
        return self.dataset.verify(index)

    def palette(self, index: int) -> tuple[Colour, ...]:
        """Return the palette of one sample's mask (see `palette_of`)."""
        return palette_of(self.dataset, index)


def palette_of(dataset: Dataset, index: int) -> tuple[Colour, ...]:
    """Return the palette of a mask that is read by its numbers; empty where there is none, or the reader knows none."""
    palette: tuple[Colour, ...] = dataset.palette(index) if hasattr(dataset, "palette") else ()
    return palette


def example(dataset: Dataset, index: int, seed: int) -> Sample:
    """Return a training example of sample `index`: drawn by the dataset if it draws, else as read."""
    return dataset.drawn(index, seed) if isinstance(dataset, RandomDataset) else dataset[index]


def has_truth(dataset: Dataset) -> bool:
    """Return whether a dataset has annotations, and not images alone, as the test splits of servers."""
    return bool(getattr(dataset, "has_truth", True))


def draws(dataset: Dataset) -> bool:
    """Return whether a dataset draws its training examples itself, such as windows of large images."""
    return isinstance(dataset, RandomDataset) and dataset.draws


def is_generated(dataset: Dataset) -> bool:
    """Return whether a dataset makes its samples rather than read them, so that none can be damaged."""
    return bool(getattr(dataset, "generated", False))


def lying(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return 1 for each sample whose image is wider than high, else 0, (N,).

    Raises:
        ConfigError: the dataset does not know sizes.
    """
    sizes = np.array([size_of(dataset, index) for index in range(len(dataset))]).reshape(-1, 2)
    return (sizes[:, 1] > sizes[:, 0]).astype(np.int64)


def size_of(dataset: Dataset, index: int) -> Size:
    """Return the (height, width) of a sample without decoding it.

    Raises:
        ConfigError: the dataset does not know it.
    """
    if not isinstance(dataset, SizedDataset) or not callable(dataset.size):  # `size` may be something else there
        raise ConfigError(
            f"data.group_by_shape needs the sizes of images, which {dataset.info.name} does not know without "
            "decoding them.",
            "Set data.group_by_shape=false; a reader of your own may have a method size(index).",
        )
    return dataset.size(index)
