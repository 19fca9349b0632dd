"""Paint cars: low-poly bodies in many colours, seen from any side."""

from __future__ import annotations

import math
from random import Random

import numpy as np

from coatseg.scenes.things.car_bodies import BODIES, HEADLIGHT, mesh
from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.canvas import CAR
from coatseg.scenes.world.colours import Colour, grey, scaled, varied
from coatseg.scenes.world.light import LAMPLIGHT
from coatseg.scenes.world.shadows import Footprint
from coatseg.scenes.world.stage import Stage
from coatseg.scenes.world.textures import Floats

PAINT_COLOURS: list[Colour] = [
    (232, 232, 230), (190, 192, 196), (128, 132, 138), (72, 76, 82), (28, 30, 34), (160, 30, 36), (40, 66, 124),
    (84, 130, 180), (40, 84, 58), (112, 132, 70), (206, 176, 60), (196, 96, 44), (122, 96, 76), (214, 204, 184),
]  # fmt: skip
GLASS_COLOURS: list[Colour] = [(38, 46, 54), (58, 68, 76), (28, 32, 36)]
HEADLIGHTS: tuple[Colour, Colour] = ((215, 218, 220), (255, 250, 225))
TAIL_LIGHTS: tuple[Colour, Colour] = ((150, 26, 28), (230, 40, 36))
"""The colours of headlights and of tail lights, each by day and at night."""


NEAREST = 0.6
"""A car with a corner nearer than this many metres is not painted."""
SMALLEST = 5.0
"""A car lower than this many pixels is not painted either."""


def draw_colours(rng: Random, dark: float) -> Floats:
    """Draw random colours for a car's materials, (8, 3)."""
    night = int(dark > 0)
    hub = grey(rng.uniform(80, 180))
    return np.array(
        (
            varied(rng, PAINT_COLOURS, (0.8, 1.15), 6),
            varied(rng, GLASS_COLOURS, (0.8, 1.6), 3),
            grey(24),
            hub,
            HEADLIGHTS[night],
            TAIL_LIGHTS[night],
            grey(34),
            grey(215),
        )
    )


def draw_kind(rng: Random) -> str:
    """Draw the name of a random body from `BODIES`."""
    return rng.choices(list(BODIES), [body.share for body in BODIES.values()])[0]


def footprint(name: str, origin: Point, heading: float) -> Footprint:
    """Return the outline on the ground of a car at `origin`, turned by `heading` radians."""
    half, end = BODIES[name].width / 2, BODIES[name].length / 2
    cosine, sine = math.cos(heading), math.sin(heading)
    corners = ((-half, -end), (-half, end), (half, end), (half, -end))
    return [(origin[0] + x * cosine + z * sine, origin[2] - x * sine + z * cosine) for x, z in corners]


def draw_car(stage: Stage, name: str, origin: Point, heading: float) -> None:
    """Paint a car that stands at `origin` and points `heading` radians to the right of Z."""
    if stage.scale(origin) * BODIES[name].roof < SMALLEST:
        return
    shape, light, dark = mesh(name), stage.light, stage.light.dark
    cosine, sine = math.cos(heading), math.sin(heading)
    turn = np.array(((cosine, 0.0, -sine), (0.0, 1.0, 0.0), (sine, 0.0, cosine)))
    seen = stage.camera.seen(shape.vertices @ turn + origin)
    if seen[:, 2].min() < NEAREST:
        return
    flat, depth = seen[:, :2] / seen[:, 2:], stage.camera.depth(origin)
    own = draw_colours(stage.rng, dark)[shape.materials]
    lit = light.shade(own, shape.normals @ (turn @ np.array(light.sun)), depth)
    if dark > 0:
        lit[shape.lamps] = own[shape.lamps]
    (ax, ay), (bx, by), (cx, cy) = (flat[shape.starts + corner].T for corner in range(3))
    facing = ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax) > 0).tolist()
    kept = [number for number, towards in enumerate(facing) if towards]
    pieces = [flat[slice(*shape.faces[number])] for number in kept]
    ends = np.cumsum([len(piece) for piece in pieces]).tolist()
    stage.canvas.polygons(np.concatenate(pieces), ends, lit[kept], stage.canvas.identity(CAR))
    for number in kept if dark > 0 else ():
        if shape.materials[number] == HEADLIGHT:
            column, row = flat[slice(*shape.faces[number])].mean(axis=0).tolist()
            stage.canvas.glows.append((column, row, 0.7 * stage.camera.focal / depth, scaled(LAMPLIGHT, 0.7)))
