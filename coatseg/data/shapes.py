"""Upright and lying images, so that a step may have those of one kind and pad little."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from coatseg.errors import ConfigError
from coatseg.structures import Dataset, Size, SizedDataset


def lying(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Give 1 for each sample whose image is wider than high, 0 for the others, (N,).

    Raises:
        ConfigError: the dataset does not know sizes.
    """
    sizes = np.array([size_of(dataset, index) for index in range(len(dataset))]).reshape(-1, 2)
    return (sizes[:, 1] > sizes[:, 0]).astype(np.int64)


def size_of(dataset: Dataset, index: int) -> Size:
    """Give the (height, width) of a sample without decoding it.

    Raises:
        ConfigError: the dataset does not know it.
    """
    if not isinstance(dataset, SizedDataset) or not callable(dataset.size):  # it may have a size of another kind
        raise ConfigError(
            f"data.group_by_shape needs the sizes of images, which {dataset.info.name} does not know without "
            "decoding them.",
            "Set data.group_by_shape=false; a reader of your own may have a method size(index).",
        )
    return dataset.size(index)
