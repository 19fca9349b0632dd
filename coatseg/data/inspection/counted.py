"""How many pixels of a map have which number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from coatseg.structures import Pixels

Counts = npt.NDArray[np.int64]
MOST_NUMBERS = 2**16
"""Up to which number maps are counted in a table."""


def counted(numbers: Pixels) -> tuple[Counts, Counts]:
    """Return the numbers (N,) in a map (H, W), ascending, and how many pixels have each; some may have none."""
    if numbers.dtype == np.uint8 or (numbers.size and numbers.min() >= 0 and numbers.max() < MOST_NUMBERS):
        counts = np.bincount(numbers.ravel())  # much faster than sorting
        return np.arange(len(counts)), counts
    found, counts = np.unique(numbers, return_counts=True)
    return found.astype(np.int64), counts
