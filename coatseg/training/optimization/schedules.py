"""Learning rate schedules: the factor of the base rate as a function of the optimizer step.

A schedule is made for a run of `total` optimizer steps, `epoch` of them in an epoch. Lengths of time (`warmup`,
`milestones`) below 1 are shares of the run; from 1 on they count steps, or with by="epoch" epochs.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from coatseg.errors import ConfigError
from coatseg.registry.names import register
from coatseg.registry.options import (
    Divisor,
    InnerShare,
    NonNegativeFloat,
    OptionGroup,
    PositiveFloat,
    PositiveShare,
    Share,
)

Schedule = Callable[[int], float]
By = Literal["step", "epoch"]


@dataclass(frozen=True, kw_only=True)
class Timing(OptionGroup):
    """The options that say when the rate of a schedule moves.

    It rises every step of the `warmup`. With by="epoch" it decays once an epoch, at its first step.
    """

    warmup: NonNegativeFloat = 0.0
    by: By = "step"


@register("schedule", "constant")
def constant(total: int, epoch: int = 1, *, timing: Timing = Timing()) -> Schedule:
    """The base rate throughout."""
    return _warmed_up(lambda step: 1.0, Timeline(total, epoch, timing))


@register("schedule", "poly")
def poly(
    total: int,
    epoch: int = 1,
    *,
    power: NonNegativeFloat = 0.9,
    final: Share = 0.0,
    timing: Timing = Timing(),
) -> Schedule:
    """Polynomial decay from 1 to `final`: (1 - progress)^power (DeepLab, Chen et al., 2017, section 4.1).

    The progress runs from 0 at the end of the warm-up to 1 at the end of the run.
    """
    return _decaying(lambda progress: final + (1 - final) * (1 - progress) ** power, Timeline(total, epoch, timing))


@register("schedule", "cosine")
def cosine(total: int, epoch: int = 1, *, final: Share = 0.0, timing: Timing = Timing()) -> Schedule:
    """Half a cosine from 1, at the end of the warm-up, to `final` (SGDR, Loshchilov and Hutter, 2017, equation 5)."""
    return _decaying(lambda progress: _halfway(1.0, final, progress), Timeline(total, epoch, timing))


@register("schedule", "multistep")
def multistep(
    total: int,
    epoch: int = 1,
    *,
    milestones: list[PositiveFloat],
    gamma: PositiveShare = 0.1,
    timing: Timing = Timing(),
) -> Schedule:
    """A factor of `gamma` more from each milestone on (Goyal et al., 2017); milestones count from the run's start.

    Raises:
        ConfigError: there is no milestone, they do not increase, or one lies beyond the end of the run.
    """
    timeline = Timeline(total, epoch, timing)
    steps = _milestone_steps(milestones, timeline)
    return _warmed_up(lambda step: gamma ** bisect_right(steps, step), timeline)


@register("schedule", "onecycle")
def onecycle(
    total: int,
    epoch: int = 1,
    *,
    pct_start: InnerShare = 0.3,
    div_factor: Divisor = 25.0,
    final_div_factor: Divisor = 1e4,
    by: By = "step",
) -> Schedule:
    """Up to the base rate and down again (Smith and Topin, 2017), in the two cosine phases of torch's OneCycleLR.

    It rises from 1 / div_factor to 1 over `pct_start` of the run, a share, and falls to 1 / (div_factor *
    final_div_factor).
    """
    first, last = 1 / div_factor, 1 / (div_factor * final_div_factor)
    peak, end = pct_start * total - 1, total - 1

    def factor(step: int) -> float:
        if step < peak:
            return _halfway(first, 1.0, step / peak)
        return _halfway(1.0, last, min(1.0, (step - peak) / (end - peak)))

    return _warmed_up(factor, Timeline(total, epoch, Timing(by=by)))


@dataclass(frozen=True)
class Timeline:
    """The length of a run and of an epoch, in optimizer steps, and when the rate moves in it."""

    total: int
    epoch: int
    timing: Timing

    @property
    def by(self) -> By:
        """Whether the rate decays, and lengths of time count, by steps or by epochs."""
        return self.timing.by

    @property
    def warmup(self) -> int:
        """The steps in which the rate rises."""
        return self.steps(self.timing.warmup)

    def steps(self, length: float) -> int:
        """Return a length of time in steps: a share of the run below 1, else a number of steps or of epochs."""
        if length < 1:
            return round(length * self.total)
        return round(length * self.epoch) if self.by == "epoch" else round(length)

    def seen(self, step: int) -> int:
        """Return the step that a decay goes by: the step itself, or the first of its epoch."""
        return step // self.epoch * self.epoch if self.by == "epoch" else step


def _warmed_up(decay: Schedule, timeline: Timeline) -> Schedule:
    """Rise linearly over the warm-up; step 0 trains at 1 / warmup of the rate, not at zero.

    Raises:
        ConfigError: the warm-up, stated as a length of time, does not end before the run.
    """
    steps, stated = timeline.warmup, timeline.timing.warmup
    if stated >= 1 and steps >= timeline.total:
        raise ConfigError(
            f"schedule.warmup={stated:g} {timeline.by}s do not end before the run of {timeline.total} steps.",
            "Give a share of the run, such as schedule.warmup=0.05, or lengthen the run.",
        )

    def factor(step: int) -> float:
        risen = (step + 1) / steps if step < steps else 1.0
        return risen * decay(timeline.seen(step))

    return factor


def _decaying(decay: Callable[[float], float], timeline: Timeline) -> Schedule:
    """Decay by the progress from the end of the warm-up, where it is 0, to the end of the run, where it is 1."""
    start = timeline.warmup
    length = max(1, timeline.total - start)
    return _warmed_up(lambda step: decay(min(1.0, max(0, step - start) / length)), timeline)


def _halfway(begin: float, end: float, progress: float) -> float:
    """Go from one value to another along half a cosine."""
    return end + (begin - end) * (1 + math.cos(math.pi * progress)) / 2


def _milestone_steps(milestones: list[float], timeline: Timeline) -> list[int]:
    if not milestones:
        raise ConfigError("schedule.milestones is empty.", "Choose schedule=constant for a rate that does not fall.")
    steps = [timeline.steps(milestone) for milestone in milestones]
    if steps != sorted(steps) or len(set(milestones)) < len(milestones):
        raise ConfigError(
            f"schedule.milestones={milestones} do not increase.", "Give each once, from the earliest to the latest."
        )
    # A share is never beyond the end, even where a very short run rounds it up to that.
    pairs = zip(milestones, steps, strict=True)
    late = [milestone for milestone, step in pairs if milestone >= 1 and step >= timeline.total]
    if late:
        raise ConfigError(
            f"schedule.milestones: {timeline.by} {late[0]:g} lies beyond the run, which ends at step {timeline.total}"
            + (f" of {timeline.epoch} an epoch." if timeline.by == "epoch" else "."),
            "Give earlier ones or shares of the run, such as [0.67,0.89], or lengthen the run.",
        )
    return steps
