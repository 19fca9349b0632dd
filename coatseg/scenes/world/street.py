"""The plan of the street, seen from above: lanes, pavements, side streets.

Street coordinates: `s` metres to the right of the road's centre line, `t` metres along it, 0 at the camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np

from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.textures import Floats

LANE = (2.8, 3.7)
PAVEMENT_WIDTH = (1.8, 6.5)
PARK_SHARE = 0.2
"""The share of street sides without houses."""
FARTHEST = 130.0
"""Beyond this many metres only the backdrop is painted."""


@dataclass(frozen=True)
class Street:
    """A road from `s = -half` to `half`, with pavements of the widths `left` and `right`.

    `offset` is the camera's s; the centre line is displaced by bend * t * t metres. `crossings` are the ranges of t of
    the side streets; `built` are the sides, -1 and 1, that have houses.
    """

    half: float
    lanes: int
    left: float
    right: float
    offset: float
    bend: float
    crossings: tuple[tuple[float, float], ...]
    built: tuple[int, ...]

    def centre(self, t: float) -> float:
        """Return X of the centre line at `t`; beyond the farthest point it is straight."""
        near = min(t, FARTHEST)
        return self.bend * near * (near + 2 * (t - near)) - self.offset

    def centres(self, t: Floats) -> Floats:
        """Return X of the centre line for an array of t, as `centre` does."""
        near = np.minimum(t, np.float32(FARTHEST))
        return np.asarray(self.bend * near * (2 * t - near) - self.offset)

    def heading(self, t: float) -> float:
        """Return the direction of the street at `t`, in radians to the right of Z."""
        return math.atan(2 * self.bend * min(t, FARTHEST))

    def point(self, s: float, t: float) -> Point:
        """Return the world point on the ground at street coordinates (s, t)."""
        return s + self.centre(t), 0.0, t

    def edge(self, side: int) -> float:
        """Return the distance from the centre line to a pavement's outer edge; side -1 is left, 1 is right."""
        return self.half + (self.left if side < 0 else self.right)

    def in_crossing(self, t: float, margin: float = 0.0) -> bool:
        """Return whether `t` lies in a side street, or at most `margin` metres from one."""
        return any(start - margin < t < end + margin for start, end in self.crossings)


def draw_street(rng: Random) -> Street:
    """Draw a random plan of a street."""
    lanes = rng.choice([1, 2, 2, 2, 3, 4])
    half = (lanes * rng.uniform(*LANE) + rng.choice([0.0, 2.2, 4.4])) / 2
    left, right = rng.uniform(*PAVEMENT_WIDTH), rng.uniform(*PAVEMENT_WIDTH)
    crossings: list[tuple[float, float]] = []
    start = rng.uniform(8, 45)
    while start < 110 and rng.random() < 0.7:
        crossings.append((start, start + rng.uniform(6, 13)))
        start = crossings[-1][1] + rng.uniform(25, 70)
    walking = rng.choice([-1, 1]) * (half + rng.uniform(0.2, 0.7) * min(left, right))
    offset = walking if rng.random() < 0.25 else rng.uniform(-0.85, 0.85) * half
    built = tuple(side for side in (-1, 1) if rng.random() > PARK_SHARE)
    return Street(half, lanes, left, right, offset, rng.gauss(0, 0.0012), tuple(crossings), built)
