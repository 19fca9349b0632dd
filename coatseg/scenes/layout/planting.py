"""Place trees and hedges: rows at the kerbs, single trees behind, groups of trees where there are no houses."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from coatseg.scenes.layout.placing import Placed, distance, place
from coatseg.scenes.things import hedges, trees
from coatseg.scenes.world import shadows
from coatseg.scenes.world.stage import Stage

TREES_NEAR = (8.0, 50.0)
FARTHEST_IN_ROW = 60.0
ROWS = 0.4
"""The share of kerbs with a row of trees."""
STRIP, GREEN = (-1.5, -0.5), (0.5, 25.0)
"""Metres beyond a pavement's outer edge where single trees stand, with and without houses there."""
SINGLE_TREES, GROUP_OF_TREES = (1, 4), (7, 15)
HEDGES_BUILT, HEDGES_GREEN = 0.25, 0.6
"""The shares of street sides with a hedge, with and without houses."""


def plants(stage: Stage) -> Iterator[Placed]:
    """Place rows of trees along the kerbs, hedges, and single trees behind the pavements."""
    rng, street = stage.rng, stage.street
    look = trees.draw_foliage(rng, stage.light.snow)
    for side in (-1, 1):
        if rng.random() < ROWS:
            spacing, t = rng.uniform(6, 14), rng.uniform(5, 14)
            while t < FARTHEST_IN_ROW:
                if not street.in_crossing(t, 3):
                    yield _tree(stage, side * (street.half + 0.8), t, look)
                t += spacing * rng.uniform(0.8, 1.3)
        if rng.random() < (HEDGES_BUILT if side in street.built else HEDGES_GREEN):
            yield from _hedge(stage, side)
    for side in (-1, 1):
        built = side in street.built
        strip = sorted(side * (street.edge(side) + out) for out in (STRIP if built else GREEN))
        for _ in range(rng.randrange(*(SINGLE_TREES if built else GROUP_OF_TREES))):
            t = distance(stage, *TREES_NEAR)
            s = place(stage, t, (strip[0], strip[1]))
            if s is not None and not street.in_crossing(t, 2):
                yield _tree(stage, s, t, trees.draw_foliage(rng, stage.light.snow))


def _tree(stage: Stage, s: float, t: float, look: trees.Foliage) -> Placed:
    """Return a tree, with the shadow of its crown, at a position on the street."""
    origin = stage.street.point(s, t)
    shadow = shadows.of_crown(stage.light, origin, look.height * 0.6, look.width * 0.45)
    return Placed(t, partial(trees.draw_tree, stage, origin, look), shadow)


def _hedge(stage: Stage, side: int) -> Iterator[Placed]:
    """Place a hedge along the back of a pavement, in pieces."""
    rng, street = stage.rng, stage.street
    leaf = trees.draw_foliage(rng, stage.light.snow).leaf
    height, thickness, t = rng.uniform(0.7, 1.9), rng.uniform(0.6, 1.2), rng.uniform(2, 12)
    front, piece = side * (street.edge(side) - thickness), rng.uniform(3, 7)
    for _ in range(rng.randrange(3, 8)):
        end = t + piece
        if not street.in_crossing((t + end) / 2, piece / 2):
            inner = side * street.edge(side)
            corners = [street.point(s, at) for s, at in ((front, t), (front, end), (inner, end), (inner, t))]
            shadow = shadows.of_block(stage.light, [(x, z) for x, _, z in corners], height)
            yield Placed(end, partial(hedges.draw_hedge, stage, corners, side, leaf, height), shadow)
        t = end + (rng.uniform(1, 3) if rng.random() < 0.3 else 0.0)
