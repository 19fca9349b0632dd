"""Times of sides that take turns in one process, and their ratio."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

WARM_UP = 2  # calls of each side before the clock counts


class Ratio(NamedTuple):
    """By how much a side is faster, and the quartiles of that over the rounds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def in_turn(sides: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = WARM_UP) -> dict[str, list[float]]:
    """Call the sides in turn, and give the seconds of each call of each side after the warm-up.

    What else the machine does meets all sides alike. Every second round goes backwards, so that none is always first.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(warm_up + repeats):
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            began = time.perf_counter()
            sides[name]()
            times[name].append(time.perf_counter() - began)
    return {name: seconds[warm_up:] for name, seconds in times.items()}


def speedup(peer: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Compare the medians of two sides' times, and the times of each round by themselves for the spread."""
    rounds = [theirs / mine for theirs, mine in zip(peer, ours, strict=True)]
    low, high = np.percentile(rounds, [25, 75])
    return Ratio(median(peer) / median(ours), float(low), float(high))
