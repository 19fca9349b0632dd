"""Learning rate schedules: the factor of the base rate as a function of the optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable

from coatseg.errors import ConfigError

Schedule = Callable[[int], float]


def poly(total: int, *, power: float = 0.9, final: float = 0.0, warmup: float = 0) -> Schedule:
    """Polynomial decay from 1 to `final`: (1 - progress)^power (DeepLab, Chen et al., 2017, section 4.1)."""
    return warmed_up(lambda progress: final + (1 - final) * (1 - progress) ** power, total, warmup)


def cosine(total: int, *, final: float = 0.0, warmup: float = 0) -> Schedule:
    """Half a cosine from 1 to `final` (SGDR, Loshchilov and Hutter, 2017, equation 5)."""
    return warmed_up(lambda progress: final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2, total, warmup)


def warmed_up(decay: Callable[[float], float], total: int, warmup: float) -> Schedule:
    """Rise linearly over the warm-up, then decay to the last of `total` steps.

    `warmup` is a number of steps, or below 1 a share of the total. Step 0 trains at 1 / warmup of the rate, not at
    zero.
    """
    if warmup < 0:
        raise ConfigError(f"schedule.warmup={warmup} is negative.", "Give steps (500), or a share of the run (0.05).")
    steps = round(warmup * total) if warmup < 1 else int(warmup)

    def factor(step: int) -> float:
        if step < steps:
            return (step + 1) / steps
        return decay(min(1.0, (step - steps) / max(1, total - steps)))

    return factor
