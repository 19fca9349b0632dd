"""Cars parked at the kerbs, driving on the lanes and crossing at side streets, and people on foot among them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from coatseg.scenes.layout.placing import Placed, distance, pavements, place
from coatseg.scenes.things import car_bodies, cars
from coatseg.scenes.things.people import draw_person
from coatseg.scenes.world import shadows
from coatseg.scenes.world.stage import Stage

CARS_NEAR = (6.5, 40.0)
FARTHEST_PARKED = 50.0
GAP = 0.15
"""Metres that are kept free around a car."""
CROSSING_CARS_FROM = 15.0
"""Cars that cross the street are at least this many metres away, so that none fills the image."""
PEOPLE, ON_ROAD = (6, 13), 0.2
"""The range of the number of people, and the share of groups on the road."""
PEOPLE_NEAR = (5.0, 20.0)


@dataclass
class Traffic:
    """The cars of a scene, as rectangles in street coordinates: centre (s, t) and half the extent along each."""

    stage: Stage
    cars: list[tuple[float, float, float, float]] = field(default_factory=list)

    def blocks(self, s: float, t: float, half_s: float, half_t: float) -> bool:
        """Return whether a thing at (s, t) with these half extents would overlap a car."""
        return any(abs(s - x) < half_s + across and abs(t - y) < half_t + along for x, y, across, along in self.cars)

    def add(self, s: float, t: float, heading: float) -> Iterator[Placed]:
        """Place a random car with its shadow, unless it would overlap another car."""
        kind = cars.draw_kind(self.stage.rng)
        body = car_bodies.BODIES[kind]
        sine, cosine = abs(math.sin(heading)) / 2, abs(math.cos(heading)) / 2
        room = (cosine * body.width + sine * body.length + GAP, sine * body.width + cosine * body.length + GAP)
        if self.blocks(s, t, *room):
            return
        self.cars.append((s, t, *room))
        origin = self.stage.street.point(s, t)
        turned = heading + self.stage.street.heading(t)
        shadow = shadows.of_block(self.stage.light, cars.footprint(kind, origin, turned), 1.3)
        yield Placed(t, partial(cars.draw_car, self.stage, kind, origin, turned), shadow)


def drive(stage: Stage, traffic: Traffic) -> Iterator[Placed]:
    """Place all cars of a scene, parked, driving and crossing, and add them to `traffic`."""
    yield from _parked_cars(stage, traffic)
    yield from _driving_cars(stage, traffic)
    yield from _crossing_cars(stage, traffic)


def _parked_cars(stage: Stage, traffic: Traffic) -> Iterator[Placed]:
    """Place parked cars along the kerbs, in rows with gaps."""
    rng, street = stage.rng, stage.street
    for side in (-1, 1):
        if rng.random() < 0.45:
            continue
        t = rng.uniform(5, 14)
        while t < FARTHEST_PARKED:
            if rng.random() < 0.6 and not street.in_crossing(t, 4):
                angle = rng.gauss(0, 0.05) + (math.pi if rng.random() < 0.3 else 0.0)
                yield from traffic.add(side * (street.half - 1.1 + rng.gauss(0, 0.1)), t, angle)
            t += rng.uniform(5.4, 8.0)


def _driving_cars(stage: Stage, traffic: Traffic) -> Iterator[Placed]:
    """Place driving cars on the lanes."""
    rng, street = stage.rng, stage.street
    for _ in range(rng.randrange(1, 6)):
        t, side = distance(stage, *CARS_NEAR), rng.choice((-1, 1))
        heading = (math.pi if side < 0 else 0.0) + rng.gauss(0, 0.08)
        if not street.in_crossing(t, 3):
            yield from traffic.add(side * rng.uniform(0.2, 0.5) * street.half, t, heading)


def _crossing_cars(stage: Stage, traffic: Traffic) -> Iterator[Placed]:
    """Place cars that cross the street, at the side streets."""
    rng = stage.rng
    for start, end in stage.street.crossings[:2]:
        for _ in range(rng.randrange(3) if end > CROSSING_CARS_FROM else 0):
            t = rng.uniform(max(start + 1.5, CROSSING_CARS_FROM), max(end - 1.5, CROSSING_CARS_FROM))
            s = place(stage, t, (-30.0, 30.0))
            if s is not None:
                yield from traffic.add(s, t, rng.choice((-1, 1)) * math.pi / 2 + rng.gauss(0, 0.1))


def walk(stage: Stage, traffic: Traffic) -> Iterator[Placed]:
    """Put people, alone and in groups, on pavements and crossings, some on the road, none in a car."""
    rng, street = stage.rng, stage.street
    left = rng.randrange(*PEOPLE)
    while left > 0:
        t = distance(stage, *PEOPLE_NEAR)
        on_road = street.in_crossing(t) or rng.random() < ON_ROAD
        group = min(left, rng.choice((1, 1, 2, 3)))
        left -= group
        middle = place(stage, t, *([(-street.half, street.half)] if on_road else pavements(stage)))
        if middle is None:
            middle = place(stage, t, (-street.edge(-1), street.edge(1)))
        for member in range(group if middle is not None else 0):
            s, at = (middle or 0.0) + 0.55 * member + rng.gauss(0, 0.1), t + rng.gauss(0, 0.3)
            if not traffic.blocks(s, at, 0.2, 0.2):
                origin = street.point(s, at)
                shadow = shadows.of_mast(stage.light, origin, 1.6, 0.45)
                yield Placed(at, partial(draw_person, stage, origin), shadow)
