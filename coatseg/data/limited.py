"""The first samples of a dataset, and what may be asked of any dataset: whether it draws, and a training example."""

from __future__ import annotations

from coatseg.data.balance import labels_of
from coatseg.data.images import Pixels
from coatseg.data.shapes import size_of
from coatseg.structures import Dataset, ObjectDataset, RandomDataset, Sample, Size


class Limited:
    """The first `limit` samples of a dataset."""

    def __init__(self, dataset: Dataset, limit: int) -> None:
        self.dataset = dataset
        self.limit = limit
        self.info = dataset.info
        self.draws = draws(dataset)
        self.repairs: tuple[str, ...] = getattr(dataset, "repairs", ())

    def __len__(self) -> int:
        return min(self.limit, len(self.dataset))

    def __getitem__(self, index: int) -> Sample:
        return self.dataset[index]

    def drawn(self, index: int, seed: int) -> Sample:
        """Give a training example of one sample."""
        return example(self.dataset, index, seed)

    def labels(self, index: int) -> Pixels | None:
        """Give the truth of one sample alone."""
        return labels_of(self.dataset, index)

    def size(self, index: int) -> Size:
        """Give the (height, width) of one sample, if the dataset knows it."""
        return size_of(self.dataset, index)

    def has_objects(self, index: int) -> bool | None:
        """Say whether one sample has an object to learn, if the dataset knows it."""
        return self.dataset.has_objects(index) if isinstance(self.dataset, ObjectDataset) else None

    def verify(self, index: int) -> None:
        """Check the files and labels of one sample."""
        self.dataset.verify(index)


def example(dataset: Dataset, index: int, seed: int) -> Sample:
    """Give a training example of sample `index`: drawn by the dataset if it draws, else as read."""
    return dataset.drawn(index, seed) if isinstance(dataset, RandomDataset) else dataset[index]


def draws(dataset: Dataset) -> bool:
    """Say whether training examples of a dataset are drawn by itself."""
    return isinstance(dataset, RandomDataset) and dataset.draws
