"""Street furniture: lamps and bollards along the kerbs; sign poles, traffic lights and direction boards."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from coatseg.scenes.layout.placing import Placed, distance, pavements, place, seen_range
from coatseg.scenes.things import poles
from coatseg.scenes.world import shadows
from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.stage import Stage

FARTHEST_LAMP = 45.0
LAMPS_NEAR, SIGNS_NEAR = (7.0, 18.0), (6.0, 16.0)


def furnish(stage: Stage, lamps: list[Point]) -> Iterator[Placed]:
    """Set up street lamps, bollards, and what carries signs and signals; the lamps' places are added to `lamps`."""
    yield from _lamps(stage, lamps)
    yield from _bollards(stage)
    yield from _masts(stage)


def _lamps(stage: Stage, lamps: list[Point]) -> Iterator[Placed]:
    """Set lamps along the kerbs."""
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
