"""Place houses: plots along the street, a row of houses on each built side, larger houses behind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from coatseg.scenes.layout.placing import Interval, Placed
from coatseg.scenes.things import buildings
from coatseg.scenes.things.facades import FACADES, STOREYS
from coatseg.scenes.world import shadows
from coatseg.scenes.world.colours import varied
from coatseg.scenes.world.stage import Stage
from coatseg.scenes.world.street import FARTHEST

HOUSE_LENGTH, HOUSE_DEPTH = (7.0, 22.0), (8.0, 15.0)
USUAL_STOREYS = (1, 2, 2, 3, 3, 4, 5, 6, 7)
"""The usual number of storeys in a row of houses, drawn from these; each house differs a little from it."""
BEHIND = 200.0
"""Metres added to the distance of the second row, so that it is painted before everything else."""


def houses(stage: Stage) -> Iterator[Placed]:
    """Place houses along the built sides of the street, and a second row behind them."""
    rng, street = stage.rng, stage.street
    for side in street.built:
        front = street.edge(side) + (rng.uniform(1, 5) if rng.random() < 0.33 else 0.0)
        storeys, gaps = rng.choice(USUAL_STOREYS), 0.1 if rng.random() < 0.6 else 1.0
        for start, end in _plots(stage, gaps):
            house = _house(stage, side, (start, end), front, storeys)
            shadow = None
            if stage.light.shadow > 0.2:
                ground = [(x, z) for x, _, z in house.corners(street)]
                shadow = shadows.of_block(stage.light, ground, house.height)
            yield Placed(end, partial(buildings.draw_house, stage, house), shadow)
        yield from _second_row(stage, side, front + 20)


def _plots(stage: Stage, gaps: float) -> Iterator[Interval]:
    """Yield the plots of one side of the street, with side streets left free; `gaps` is the probability of a gap."""
    rng = stage.rng
    ends = [start - 2 for start, _ in stage.street.crossings] + [FARTHEST]
    starts = [-rng.uniform(0, 15), *(end + 2 for _, end in stage.street.crossings)]
    for start, end in zip(starts, ends, strict=True):
        t = start
        while end - t > 5:
            length = rng.uniform(*HOUSE_LENGTH)
            last = min(t + length, end)
            if last > 1:
                yield t, last
            t = last + (rng.uniform(1.5, 12) if rng.random() < gaps else 0.05)


def _second_row(stage: Stage, side: int, front: float) -> Iterator[Placed]:
    """Place a few larger houses behind the first row."""
    rng = stage.rng
    t = rng.uniform(10, 40)
    while t < FARTHEST and rng.random() < 0.7:
        end = t + rng.uniform(15, 26)
        house = _house(stage, side, (t, end), front, rng.randrange(3, STOREYS))
        yield Placed(end + BEHIND, partial(buildings.draw_house, stage, house))
        t = end + rng.uniform(5, 40)


def _house(stage: Stage, side: int, span: Interval, front: float, usual_storeys: int) -> buildings.House:
    """Draw a random house for the range `span` of t."""
    rng = stage.rng
    storeys = min(max(usual_storeys + rng.randrange(-1, 3), 1), STOREYS)
    return buildings.House(
        side=side,
        start=span[0],
        end=span[1],
        front=front,
        depth=rng.uniform(*HOUSE_DEPTH),
        storeys=storeys,
        storey=rng.uniform(*buildings.STOREY),
        bay=rng.uniform(*buildings.BAY),
        facade=rng.randrange(FACADES),
        colours=buildings.draw_colours(rng),
        roof=varied(rng, buildings.ROOF_COLOURS, (0.8, 1.2), 4),
        gable=rng.uniform(2.0, 4.5) if storeys <= 5 and rng.random() < 0.5 else 0.0,
        shop_sign=rng.random() < 0.55,
    )
