"""Cars on the street: parked at the kerbs, driving on the lanes, crossing at side streets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from . import car_bodies, cars, shadows
from .placing import Placed, distance, place
from .stage import Stage

CARS_NEAR = (6.5, 55.0)
ABREAST = 2.2
"""Metres between the middles of cars side by side."""
CROSSING_CARS_FROM = 15.0
"""Cars that drive across are at least this many metres away, lest one fills the image."""


@dataclass
class _Traffic:
    """The cars of a scene: a car that would stand in another one is left out."""

    stage: Stage
    cars: list[tuple[float, float, float]] = field(default_factory=list)

    def add(self, s: float, t: float, heading: float) -> Iterator[Placed]:
        """Place a car with its shadow."""
        kind = cars.draw_kind(self.stage.rng)
        half = car_bodies.BODIES[kind].length / 2
        if any(
            abs(s - other) < ABREAST + abs(math.sin(heading)) * half and abs(t - place) < half + length + 0.5
            for other, place, length in self.cars
        ):
            return
        self.cars.append((s, t, half))
        origin = self.stage.street.point(s, t)
        turned = heading + self.stage.street.heading(t)
        shadow = shadows.of_block(self.stage.light, cars.footprint(kind, origin, turned), 1.3)
        yield Placed(t, partial(cars.draw_car, self.stage, kind, origin, turned), shadow)


def traffic(stage: Stage) -> Iterator[Placed]:
    """Park cars along the kerbs, let others drive."""
    others = _Traffic(stage)
    yield from _parked_cars(stage, others)
    yield from _driving_cars(stage, others)
    yield from _crossing_cars(stage, others)


def _parked_cars(stage: Stage, others: _Traffic) -> Iterator[Placed]:
    """Park cars along the kerbs, rows with gaps."""
    rng, street = stage.rng, stage.street
    for side in (-1, 1):
        if rng.random() < 0.45:
            continue
        t = rng.uniform(5, 14)
        while t < 65:
            if rng.random() < 0.6 and not street.in_crossing(t, 4):
                angle = rng.gauss(0, 0.05) + (math.pi if rng.random() < 0.3 else 0.0)
                yield from others.add(side * (street.half - 1.1 + rng.gauss(0, 0.1)), t, angle)
            t += rng.uniform(5.4, 8.0)


def _driving_cars(stage: Stage, others: _Traffic) -> Iterator[Placed]:
    """Put cars on the lanes."""
    rng, street = stage.rng, stage.street
    for _ in range(rng.randrange(1, 6)):
        t, side = distance(stage, *CARS_NEAR), rng.choice((-1, 1))
        heading = (math.pi if side < 0 else 0.0) + rng.gauss(0, 0.08)
        if not street.in_crossing(t, 3):
            yield from others.add(side * rng.uniform(0.2, 0.5) * street.half, t, heading)


def _crossing_cars(stage: Stage, others: _Traffic) -> Iterator[Placed]:
    """Put cars across the street, where side streets are."""
    rng = stage.rng
    for start, end in stage.street.crossings[:2]:
        for _ in range(rng.randrange(3) if end > CROSSING_CARS_FROM else 0):
            t = rng.uniform(max(start + 1.5, CROSSING_CARS_FROM), max(end - 1.5, CROSSING_CARS_FROM))
            s = place(stage, t, (-30.0, 30.0))
            if s is not None:
                yield from others.add(s, t, rng.choice((-1, 1)) * math.pi / 2 + rng.gauss(0, 0.1))
