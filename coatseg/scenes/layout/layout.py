"""Lay out a scene: everything along the street, from far to near; people, lamps, bollards and masts are placed here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from coatseg.scenes.layout.placing import Placed, distance, pavements, place, seen_range
from coatseg.scenes.layout.planting import plants
from coatseg.scenes.layout.plots import houses
from coatseg.scenes.layout.traffic import Traffic, drive
from coatseg.scenes.things import poles
from coatseg.scenes.things.people import draw_person
from coatseg.scenes.world import shadows
from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.stage import Stage

PEOPLE, ON_ROAD = (6, 13), 0.2
"""The range of the number of people, and the share of groups on the road."""
FARTHEST_LAMP = 45.0
PEOPLE_NEAR, LAMPS_NEAR, SIGNS_NEAR = (5.0, 20.0), (7.0, 18.0), (6.0, 16.0)


def lay_out(stage: Stage) -> tuple[list[Placed], list[Point]]:
    """Return everything that is placed in a scene, ordered from far to near, and the positions of the lamps."""
    lamps: list[Point] = []
    cars = Traffic(stage)
    placed = [
        *houses(stage), *plants(stage), *drive(stage, cars), *_people(stage, cars),
        *_lamps(stage, lamps), *_bollards(stage), *_masts(stage),
    ]  # fmt: skip
    placed.sort(key=lambda thing: -thing.t)
    return placed, lamps


def _people(stage: Stage, cars: Traffic) -> Iterator[Placed]:
    """Place people, alone and in groups, on pavements and crossings, some on the road, none inside a car."""
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
            if not cars.blocks(s, at, 0.2, 0.2):
                origin = street.point(s, at)
                shadow = shadows.of_mast(stage.light, origin, 1.6, 0.45)
                yield Placed(at, partial(draw_person, stage, origin), shadow)


def _lamps(stage: Stage, lamps: list[Point]) -> Iterator[Placed]:
    """Place lamps along the kerbs, and add their positions to `lamps`."""
    rng, street = stage.rng, stage.street
    for side in (-1, 1):
        if rng.random() < 0.3:
            continue
        t, spacing = distance(stage, *LAMPS_NEAR), rng.uniform(14, 28)
        while t < FARTHEST_LAMP:
            origin = street.point(side * (street.half + 0.4), t)
            lamps.append(origin)
            yield Placed(
                t, partial(poles.draw_lamp, stage, origin, side), shadows.of_mast(stage.light, origin, 6.0, 0.25)
            )
            t += spacing


def _bollards(stage: Stage) -> Iterator[Placed]:
    """Place short rows of bollards along the kerbs."""
    rng, street = stage.rng, stage.street
    for side in (-1, 1):
        if rng.random() < 0.75:
            continue
        t, spacing = rng.uniform(4, 8), rng.uniform(1.6, 3.0)
        for _ in range(rng.randrange(3, 9)):
            origin = street.point(side * (street.half + 0.35), t)
            yield Placed(t, partial(poles.draw_bollard, stage, origin), shadows.of_mast(stage.light, origin, 0.9, 0.2))
            t += spacing


def _masts(stage: Stage) -> Iterator[Placed]:
    """Place sign poles, traffic lights and direction boards where the camera sees them."""
    rng, street = stage.rng, stage.street
    for _ in range(rng.randrange(3, 7)):
        t = distance(stage, *SIGNS_NEAR)
        low, high = seen_range(stage, t, 0.4)
        kerb = rng.choice((-1, 1)) * (street.half + rng.uniform(0.3, 0.9))
        s = kerb if low < kerb < high else place(stage, t, *pavements(stage))
        if s is None:
            continue
        origin, side, kind = street.point(s, t), 1 if s > 0 else -1, rng.random()
        if kind < 0.65:
            draw = partial(poles.draw_sign_pole, stage, origin)
        elif kind < 0.9:
            draw = partial(poles.draw_traffic_light, stage, origin, side)
        else:
            draw = partial(poles.draw_gantry, stage, origin, side)
        yield Placed(t, draw, shadows.of_mast(stage.light, origin, 3.0, 0.25))
