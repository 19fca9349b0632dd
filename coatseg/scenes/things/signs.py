"""Paint signs: plates of several shapes on poles, boards, shop signs on houses, traffic lights."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.canvas import SIGN
from coatseg.scenes.world.colours import Colour, grey, scaled, varied
from coatseg.scenes.world.stage import Flat, Shape, Stage, box, circle, limb

RED: Colour = (196, 30, 38)
BLUE: Colour = (28, 84, 170)
YELLOW: Colour = (240, 196, 30)
GREEN: Colour = (20, 112, 70)
WHITE: Colour = (236, 236, 232)
BLACK: Colour = (28, 28, 30)
ORANGE: Colour = (236, 120, 30)
BROWN: Colour = (112, 70, 44)


SHOP_COLOURS = (RED, BLUE, YELLOW, GREEN, WHITE, ORANGE, (40, 130, 190), (150, 40, 120), BLACK)
SMALLEST = 0.03
"""Shop signs lower or narrower than this share of the image's height are left out."""
BACKS = 0.12
"""The share of plates that are seen from their grey back."""


def _triangle(y: float, radius: float) -> Flat:
    return circle(0.0, y, radius * 1.15, 3)


def _inverted(y: float, radius: float) -> Flat:
    return [(x, 2 * y - up) for x, up in _triangle(y, radius)]


def _octagon(y: float, radius: float) -> Flat:
    return circle(0.0, y, radius, 16)[1::2]


def _diamond(y: float, radius: float) -> Flat:
    return circle(0.0, y, radius * 1.1, 4)


def _square(y: float, radius: float) -> Flat:
    return box(-0.85 * radius, y - 0.85 * radius, 0.85 * radius, y + 0.85 * radius)


def _tall(y: float, radius: float) -> Flat:
    return box(-0.7 * radius, y - 1.1 * radius, 0.7 * radius, y + 1.1 * radius)


def _disc(y: float, radius: float) -> Flat:
    return circle(0.0, y, radius, 14)


PLATES: tuple[tuple[Callable[[float, float], Flat], Colour, Colour, Colour], ...] = (
    (_disc, RED, WHITE, BLACK), (_disc, RED, WHITE, WHITE), (_disc, WHITE, BLUE, WHITE), (_disc, RED, BLUE, RED),
    (_disc, WHITE, RED, WHITE), (_triangle, RED, WHITE, BLACK), (_triangle, RED, YELLOW, BLACK),
    (_inverted, RED, WHITE, WHITE), (_octagon, WHITE, RED, WHITE), (_diamond, BLACK, YELLOW, BLACK),
    (_diamond, WHITE, YELLOW, YELLOW), (_square, WHITE, BLUE, WHITE), (_square, BLACK, YELLOW, BLACK),
    (_tall, BLACK, WHITE, BLACK), (_tall, WHITE, GREEN, WHITE), (_square, WHITE, ORANGE, BLACK),
)  # fmt: skip
"""For each plate, the function that returns its outline, and the colours of rim, face and symbol."""

BOARDS = ((BLUE, WHITE), (GREEN, WHITE), (WHITE, BLACK), (YELLOW, BLACK), (BROWN, WHITE))
"""The colours of the face and the writing of direction boards."""


def _symbol(rng: Random, y: float, radius: float, colour: Colour) -> list[Shape]:
    """Return a random symbol for a plate: a bar, an arrow, two bars, or a slanted bar."""
    r = radius * 0.5
    symbols: tuple[list[Flat], ...] = (
        [box(-r, y - 0.3 * r, r, y + 0.3 * r)],
        [limb((0.0, y - r), (0.0, y + 0.2 * r), 0.4 * r, 0.4 * r), [(-0.6 * r, y), (0.6 * r, y), (0.0, y + r)]],
        [box(x - 0.25 * r, y - 0.7 * r, x + 0.25 * r, y + 0.7 * r) for x in (-0.45 * r, 0.45 * r)],
        [limb((-0.7 * r, y - 0.7 * r), (0.7 * r, y + 0.7 * r), 0.4 * r, 0.4 * r)],
    )
    return [Shape(points, colour) for points in rng.choice(symbols)]


def _writing(rng: Random, left: float, bottom: float, right: float, top: float, colour: Colour) -> list[Shape]:
    """Return random lines of words, as blocks, in a rectangle."""
    lines = min(max(int((top - bottom) / 0.4), 1), 3)
    pitch = (top - bottom) / lines
    shapes = []
    for line in range(lines):
        x, y = left + 0.08 * (right - left), top - (line + 0.75) * pitch
        end = x + rng.uniform(0.5, 0.9) * (right - left)
        while x < end - 0.15:
            word = min(rng.uniform(0.3, 0.9), end - x)
            shapes.append(Shape(box(x, y, x + word, y + 0.45 * pitch), colour))
            x += word + 0.2
    return shapes


def plate(rng: Random, y: float, radius: float) -> list[Shape]:
    """Return a random plate whose centre is `y` metres above the ground."""
    outline, rim, face, symbol = rng.choice(PLATES)
    facing = rng.uniform(0.2, 0.8)
    if rng.random() < BACKS:
        return [Shape(outline(y, radius), grey(130), 0.2), Shape(outline(y, radius * 0.85), grey(105), 0.2)]
    shapes = [Shape(outline(y, radius), rim, facing), Shape(outline(y, radius * 0.78), face, facing)]
    return shapes + (_symbol(rng, y, radius, symbol) if symbol != face else [])


def board(rng: Random, y: float, width: float, height: float) -> list[Shape]:
    """Return a random board with writing, whose lower edge is `y` metres above the ground."""
    face, ink = rng.choice(BOARDS)
    half = width / 2
    shapes = [Shape(box(-half, y, half, y + height), ink)]
    shapes.append(Shape(box(-half + 0.06, y + 0.06, half - 0.06, y + height - 0.06), face))
    return shapes + _writing(rng, -half, y, half, y + height, ink)


def traffic_light(rng: Random, y: float) -> list[Shape]:
    """Return the head of a traffic light, whose lower edge is `y` metres above the ground."""
    shining = rng.randrange(3)
    lamps: tuple[Colour, ...] = ((50, 220, 110), (250, 180, 40), (240, 40, 40))
    shapes = [Shape(box(-0.24, y, 0.24, y + 1.25), grey(33)), Shape(box(-0.19, y + 0.05, 0.19, y + 1.2), grey(18))]
    for place, lamp in enumerate(lamps):
        on = place == shining
        shapes.append(
            Shape(circle(0.0, y + 0.25 + 0.38 * place, 0.15, 10), lamp if on else scaled(lamp, 0.25), shines=on)
        )
    return shapes


def draw_sign(stage: Stage, origin: Point, shapes: list[Shape], turn: float) -> None:
    """Paint a sign as a separate object, turned by `turn` radians from the camera."""
    yaw = stage.camera.yaw + turn
    stage.paint(origin, shapes, stage.canvas.identity(SIGN), (math.cos(yaw), 0.0, -math.sin(yaw)))


def draw_shop_sign(stage: Stage, start: Point, end: Point, normal: Point, storey: float) -> None:
    """Paint a shop sign on a front from `start` to `end`: a board along the wall, or one that stands out from it."""
    rng = stage.rng
    dx, dz = end[0] - start[0], end[2] - start[2]
    length = math.hypot(dx, dz)
    along = (dx / length, 0.0, dz / length)
    flush = rng.random() < 0.5
    if flush:
        width, height, bottom = (
            min(rng.uniform(2.0, 5.0), 0.8 * length),
            rng.uniform(0.6, 1.1),
            storey - rng.uniform(0.2, 0.5),
        )
        place, out = rng.uniform(width / 2, length - width / 2), 0.1
    else:
        width, height, bottom = rng.uniform(0.8, 1.1), rng.uniform(0.8, 2.4), storey + rng.uniform(-0.3, 0.5)
        place, out = rng.uniform(0.1, 0.9) * length, 0.2 + width / 2
    origin = (start[0] + along[0] * place + normal[0] * out, 0.0, start[2] + along[2] * place + normal[2] * out)
    if stage.scale(origin) * min(width, height) < SMALLEST * stage.canvas.size[0]:
        return
    right = along if flush else normal
    if right[0] * stage.camera.right[0] + right[2] * stage.camera.right[2] < 0:
        right = (-right[0], 0.0, -right[2])
    stage.paint(origin, _shop_board(stage, width, bottom, height), stage.canvas.identity(SIGN), right)


def _shop_board(stage: Stage, width: float, bottom: float, height: float) -> list[Shape]:
    """Return a board in a random colour, with writing; it shines at night."""
    rng = stage.rng
    face = varied(rng, SHOP_COLOURS, (0.8, 1.1), 10)
    ink = WHITE if sum(face) < 380 else BLACK
    half, top, shines = width / 2, bottom + height, stage.light.dark > 0
    shapes = [
        Shape(box(-half, bottom, half, top), ink, shines=shines),
        Shape(box(-half + 0.07, bottom + 0.07, half - 0.07, top - 0.07), face, shines=shines),
    ]
    return shapes + _writing(rng, -half, bottom, half, top, ink)
