"""Positions for things on the street: random distances, the part of the street that the camera sees, pavements."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from coatseg.scenes.world.shadows import Footprint
from coatseg.scenes.world.stage import Stage

Interval = tuple[float, float]


@dataclass(frozen=True)
class Placed:
    """A placed thing: its position along the street, the function that paints it, and its shadow on the ground."""

    t: float
    draw: Callable[[], None]
    shadow: Footprint | None = None


def distance(stage: Stage, low: float, high: float) -> float:
    """Draw a random distance in metres whose logarithm is uniform.

    The bounds are for a focal length of one image height and grow with it, so that things keep their size in the image.
    """
    zoom = stage.camera.focal / stage.camera.size[0]
    return zoom * math.exp(stage.rng.uniform(math.log(low), math.log(high)))


def seen_range(stage: Stage, t: float, margin: float) -> Interval:
    """Return the range of s that the camera sees at `t`."""
    camera = stage.camera
    half = math.atan(camera.size[1] / 2 / camera.focal)
    centre = stage.street.centre(t)
    left, right = (t * math.tan(camera.yaw + side * half) - centre for side in (-1, 1))
    return left + margin, right - margin


def place(stage: Stage, t: float, *intervals: Interval) -> float | None:
    """Draw a random s that the camera sees and that lies in one of the intervals; None if there is none."""
    low, high = seen_range(stage, t, 0.3)
    cut = [(max(low, a), min(high, b)) for a, b in intervals]
    widths = [max(b - a, 0.0) for a, b in cut]
    if sum(widths) <= 0:
        return None
    return stage.rng.uniform(*stage.rng.choices(cut, widths)[0])


def pavements(stage: Stage) -> tuple[Interval, Interval]:
    """Return the ranges of s of the left and the right pavement, where people walk."""
    street = stage.street
    return (-street.edge(-1) + 0.3, -street.half - 0.3), (street.half + 0.3, street.edge(1) - 0.3)
