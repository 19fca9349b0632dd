"""Paint people: upright figures of limbs, clothes and hair, walking or standing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.canvas import PERSON
from coatseg.scenes.world.colours import Colour, grey, scaled, varied
from coatseg.scenes.world.stage import Flat, Shape, Stage, box, circle, limb

SKIN_COLOURS: list[Colour] = [(232, 190, 162), (206, 156, 122), (162, 112, 82), (112, 76, 56), (78, 54, 44)]
HAIR_COLOURS: list[Colour] = [
    (32, 26, 24), (70, 48, 34), (120, 84, 50), (190, 160, 104), (150, 148, 146), (60, 60, 64),
]  # fmt: skip
CLOTH_COLOURS: list[Colour] = [
    (34, 36, 42), (60, 62, 68), (44, 56, 92), (70, 92, 140), (140, 142, 146), (222, 220, 214), (176, 40, 44),
    (122, 100, 76), (186, 168, 136), (60, 90, 62), (212, 172, 52), (206, 104, 50), (128, 66, 96), (92, 150, 190),
    (48, 50, 54), (90, 86, 80), (30, 44, 70),
]  # fmt: skip
SHOE: Colour = (40, 36, 34)
CHILDREN, CHILD_HEIGHT, ADULT_HEIGHT = 0.12, (1.0, 1.4), (1.55, 1.92)


@dataclass(frozen=True)
class Figure:
    """A person's look: the colours of clothes, bag, hat and skin; girth, about 1; stride in body heights."""

    jacket: Colour
    trousers: Colour
    bag: Colour
    hat: Colour
    skin: Colour
    girth: float
    stride: float


def draw_person(stage: Stage, origin: Point) -> None:
    """Paint a random person who stands at `origin`."""
    rng = stage.rng
    height = rng.uniform(*CHILD_HEIGHT) if rng.random() < CHILDREN else rng.uniform(*ADULT_HEIGHT)
    jacket, trousers, bag, hat = (varied(rng, CLOTH_COLOURS, (0.75, 1.2), 6) for _ in range(4))
    stride = rng.uniform(0.02, 0.12) if rng.random() < 0.7 else 0.01
    figure = Figure(
        jacket, trousers, bag, hat, varied(rng, SKIN_COLOURS, (0.9, 1.05), 2), rng.uniform(0.9, 1.2), stride
    )
    shapes = [*_legs(rng, figure), *_body(rng, figure), *_head(rng, figure)]
    if stage.light.wet > 0.5 and rng.random() < 0.5:
        shapes += _umbrella(hat)
    grown = [Shape([(x * height, y * height) for x, y in s.points], s.colour, s.facing) for s in shapes]
    stage.paint(origin, grown, stage.canvas.identity(PERSON))


def _legs(rng: Random, figure: Figure) -> list[Shape]:
    """Return legs and shoes, in units of the body's height."""
    girth, stride = figure.girth, figure.stride
    lower = figure.skin if rng.random() < 0.15 else figure.trousers
    shapes = []
    for side, facing in ((-1, 0.15), (1, 0.55)):
        foot = (side * (0.04 + stride), 0.02)
        knee = (side * (0.045 + stride * 0.45), 0.27)
        shapes += [
            Shape(limb(knee, foot, 0.075 * girth, 0.05), lower, facing),
            Shape(limb((side * 0.045 * girth, 0.52), knee, 0.105 * girth, 0.075 * girth), figure.trousers, facing),
            Shape(
                box(foot[0] - 0.03 - 0.02 * (side < 0), 0.0, foot[0] + 0.03 + 0.02 * (side > 0), 0.035), SHOE, facing
            ),
        ]
    return shapes


def _body(rng: Random, figure: Figure) -> list[Shape]:
    """Return trunk, arms and a bag that may be carried."""
    shoulder, waist = 0.115 * figure.girth, 0.09 * figure.girth
    hem, flare = (rng.uniform(0.25, 0.42), waist * rng.uniform(1.0, 1.4)) if rng.random() < 0.35 else (0.46, waist)
    left: Flat = [(-shoulder, 0.78), (-0.8 * shoulder, 0.825), (0.0, 0.84), (0.0, hem), (-flare, hem)]
    right: Flat = [(-x, y) for x, y in left]
    sleeve = figure.skin if rng.random() < 0.2 else scaled(figure.jacket, 0.88)
    swing = rng.uniform(-0.6, 0.6) * figure.stride
    shapes = [Shape(box(-0.12, 0.55, 0.12, 0.86), figure.bag, 0.3)] if rng.random() < 0.2 else []
    shapes += [Shape(left, figure.jacket, 0.65), Shape(right, figure.jacket, 0.3)]
    for side in (-1, 1):
        hand = (side * (shoulder + 0.025) + swing, 0.46)
        shapes.append(Shape(limb((side * (shoulder - 0.012), 0.8), hand, 0.06, 0.042), sleeve, 0.4))
        shapes.append(Shape(circle(hand[0], hand[1] - 0.01, 0.024, 6), figure.skin))
    if rng.random() < 0.3:
        shapes.append(Shape(box(shoulder, 0.3, shoulder + 0.13, 0.44), figure.bag, 0.4))
    return shapes


def _head(rng: Random, figure: Figure) -> list[Shape]:
    """Return neck, head, and hair or a hat; a third of all people are seen from behind."""
    hair = varied(rng, HAIR_COLOURS, (0.8, 1.2), 3) if rng.random() < 0.8 else figure.hat
    shapes = [Shape(box(-0.06, 0.83, 0.06, 0.94), hair, 0.3)] if rng.random() < 0.3 else []
    shapes.append(Shape(box(-0.028, 0.82, 0.028, 0.88), scaled(figure.skin, 0.85), 0.3))
    shapes.append(Shape(circle(0.0, 0.932, 0.062, 10), hair))
    if rng.random() < 0.67:
        shapes.append(Shape(circle(0.0, 0.917, 0.05, 10), figure.skin, 0.6))
    return shapes


def _umbrella(colour: Colour) -> list[Shape]:
    """Return an umbrella held over the head."""
    angles = [math.pi * (step / 8 - 0.5) for step in range(9)]
    roof = [(0.36 * math.sin(angle), 1.0 + 0.2 * math.cos(angle)) for angle in angles]
    return [Shape(box(0.08, 0.6, 0.1, 1.1), grey(40), 0.3), Shape(roof, colour, 0.7)]
