"""Times of sides that run in turn in one process, and their ratio."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

WARM_UP = 2  # calls of each side before the clock counts


class Ratio(NamedTuple):
    """How many times as fast a side is, and the quartiles of that over the rounds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def in_turn(sides: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = WARM_UP) -> dict[str, list[float]]:
    """Call the sides in turn, and return the seconds of each call of each side after the warm-up.

    Whatever else the machine does affects all sides alike. Every second round runs backwards, so that no side is always
    first.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warm_up + repeats):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            began = time.perf_counter()
            sides[name]()
            times[name].append(time.perf_counter() - began)
    return {name: seconds[warm_up:] for name, seconds in times.items()}


def speedup(peer: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Return the ratio of the medians of two sides' times, with the quartiles of the rounds' ratios."""
    rounds = [theirs / mine for theirs, mine in zip(peer, ours, strict=True)]
    low, high = np.percentile(rounds, [25, 75])
    return Ratio(median(peer) / median(ours), float(low), float(high))
