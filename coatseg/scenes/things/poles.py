"""Paint poles: street lamps, masts with signs and traffic lights, bollards."""

from __future__ import annotations

from random import Random

import numpy as np

from coatseg.scenes.things.signs import board, draw_sign, plate, traffic_light
from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.canvas import POLE
from coatseg.scenes.world.colours import Colour, scaled, varied
from coatseg.scenes.world.light import LAMPLIGHT
from coatseg.scenes.world.stage import Shape, Stage, box, limb

POLE_COLOURS: list[Colour] = [
    (120, 126, 130), (74, 78, 82), (44, 48, 52), (152, 156, 158), (58, 70, 66), (186, 188, 188),
]  # fmt: skip
LENS: Colour = (215, 215, 205)


def _mast(rng: Random, height: float, radius: float) -> tuple[list[Shape], Colour]:
    """Return a tapered mast, with a lit half, a shaded half and a thicker foot, and its colour."""
    colour = varied(rng, POLE_COLOURS, (0.8, 1.25), 4)
    top = 0.75 * radius
    left, right = rng.choice([(0.9, 0.15), (0.15, 0.9)])
    return [
        Shape([(-radius, 0.0), (0.0, 0.0), (0.0, height), (-top, height)], colour, left),
        Shape([(0.0, 0.0), (radius, 0.0), (top, height), (0.0, height)], colour, right),
        Shape(box(-1.35 * radius, 0.0, 1.35 * radius, rng.uniform(0.15, 0.18) * height), scaled(colour, 0.85), 0.4),
    ], colour


def _towards_camera(stage: Stage, origin: Point, along: float = 0.0) -> Point:
    """Return a point a little in front of `origin` and `along` metres to its right, as the camera sees it."""
    camera = stage.camera
    return (
        origin[0] - 0.1 * camera.forward[0] + along * camera.right[0],
        origin[1],
        origin[2] - 0.1 * camera.forward[2] + along * camera.right[2],
    )


def draw_lamp(stage: Stage, origin: Point, side: int) -> None:
    """Paint a street lamp: a lantern on top, or an arm that reaches over the road, away from `side`."""
    rng, shines = stage.rng, stage.light.dark > 0
    height = rng.uniform(4.0, 8.5)
    shapes, colour = _mast(rng, height, rng.uniform(0.13, 0.19))
    lens, arm = LAMPLIGHT if shines else LENS, 0.0
    if rng.random() < 0.35:
        shapes.append(Shape(box(-0.26, height, 0.26, height + 0.6), lens, 0.6, shines))
    else:
        arm = -side * rng.uniform(0.8, 2.2)
        shapes += [
            Shape(limb((0.0, height - 0.1), (arm, height + 0.3), 0.18, 0.16), colour),
            Shape(box(arm - 0.45, height + 0.2, arm + 0.45, height + 0.45), scaled(colour, 0.9), 0.6),
            Shape(box(arm - 0.35, height + 0.14, arm + 0.35, height + 0.26), lens, 0.4, shines),
        ]
    stage.paint(origin, shapes, POLE)
    if shines:
        lit = _towards_camera(stage, (origin[0], height + 0.3, origin[2]), arm)
        column, row, depth = stage.camera.seen(np.array([lit]))[0].tolist()
        if depth > 1:
            radius = 2.2 * stage.camera.focal / depth
            stage.canvas.glows.append((column / depth, row / depth, radius, scaled(LAMPLIGHT, 0.8)))


def draw_sign_pole(stage: Stage, origin: Point) -> None:
    """Paint a pole with one or two plates, or with a board."""
    rng = stage.rng
    height, turn = rng.uniform(2.6, 3.8), rng.uniform(-0.6, 0.6)
    shapes, _ = _mast(rng, height, rng.uniform(0.1, 0.15))
    stage.paint(origin, shapes, POLE)
    front = _towards_camera(stage, origin)
    if rng.random() < 0.25:
        tall = rng.uniform(0.7, 1.5)
        draw_sign(stage, front, board(rng, height - tall, rng.uniform(1.3, 2.6), tall), turn)
        return
    radius = rng.uniform(0.36, 0.6)
    draw_sign(stage, front, plate(rng, height - radius * 0.8, radius), turn)
    if rng.random() < 0.3:
        draw_sign(stage, front, plate(rng, height - radius * 2.6, radius * 0.8), turn)


def draw_traffic_light(stage: Stage, origin: Point, side: int) -> None:
    """Paint a traffic light on a post, and sometimes a second one on an arm over the road."""
    rng = stage.rng
    arm = rng.random() < 0.4
    height, reach = rng.uniform(5.4, 6.2) if arm else rng.uniform(3.2, 3.8), -side * rng.uniform(2.0, 4.5)
    shapes, colour = _mast(rng, height, rng.uniform(0.12, 0.18))
    if arm:
        shapes.append(Shape(limb((0.0, height - 0.1), (reach, height), 0.22, 0.16), colour))
    stage.paint(origin, shapes, POLE)
    draw_sign(stage, _towards_camera(stage, origin), traffic_light(rng, 2.4), rng.uniform(-0.3, 0.3))
    if arm:
        draw_sign(stage, _towards_camera(stage, origin, reach), traffic_light(rng, height - 1.3), 0.0)


def draw_gantry(stage: Stage, origin: Point, side: int) -> None:
    """Paint a strong mast with a direction board that hangs over the road."""
    rng = stage.rng
    height, reach = rng.uniform(5.2, 6.5), -side * rng.uniform(2.0, 3.5)
    shapes, colour = _mast(rng, height, rng.uniform(0.15, 0.22))
    shapes.append(Shape(limb((0.0, height - 0.4), (reach * 1.5, height - 0.4), 0.25, 0.2), colour))
    stage.paint(origin, shapes, POLE)
    tall = rng.uniform(1.2, 2.0)
    draw_sign(stage, _towards_camera(stage, origin, reach), board(rng, height - tall, rng.uniform(2.4, 3.8), tall), 0.0)


def draw_bollard(stage: Stage, origin: Point) -> None:
    """Paint a bollard, often with a light band."""
    rng = stage.rng
    radius = rng.uniform(0.08, 0.13)
    shapes, _ = _mast(rng, rng.uniform(0.8, 1.15), radius)
    if rng.random() < 0.5:
        shapes.append(Shape(box(-radius, 0.65, radius, 0.8), LENS))
    stage.paint(origin, shapes, POLE)
