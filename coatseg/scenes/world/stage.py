"""The stage of one scene, which all painting functions take: canvas, camera, light, street and random numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import NamedTuple

import numpy as np

from coatseg.scenes.world.camera import Camera, Point
from coatseg.scenes.world.canvas import Canvas
from coatseg.scenes.world.colours import Colour
from coatseg.scenes.world.light import Light
from coatseg.scenes.world.street import Street

Flat = list[tuple[float, float]]
"""A convex polygon on a plane, in metres to the right and upwards."""

TOO_NEAR = 0.5
"""Shapes nearer than this many metres are not painted."""


class Shape(NamedTuple):
    """A polygon with its colour; `facing` is its cosine to the sun, 0 to 1; with `shines` its colour is not shaded."""

    points: Flat
    colour: Colour
    facing: float = 0.5
    shines: bool = False


@dataclass(frozen=True)
class Stage:
    """The canvas, camera, light, street and random numbers of a scene."""

    canvas: Canvas
    camera: Camera
    light: Light
    street: Street
    rng: Random

    def paint(self, origin: Point, shapes: Sequence[Shape], identity: int, right: Point | None = None) -> None:
        """Paint shapes, in this order, on the upright plane through `origin` that runs along `right`.

        Without `right` the plane faces the camera.
        """
        flat = np.array([(x, y, 1.0) for shape in shapes for x, y in shape.points])
        seen = flat @ self.camera.plane(origin, right or self.camera.right)
        depth = seen[:, 2:]
        if depth.min() < TOO_NEAR:
            return
        colours = np.array([shape.colour for shape in shapes])
        lit = self.light.shade(colours, np.array([shape.facing for shape in shapes]), float(depth[0, 0]))
        ends, total = [], 0
        for number, shape in enumerate(shapes):
            total += len(shape.points)
            ends.append(total)
            if shape.shines:
                lit[number] = shape.colour
        self.canvas.polygons(seen[:, :2] / depth, ends, lit, identity)

    def scale(self, origin: Point) -> float:
        """Return the number of pixels per metre at `origin`; 0 behind the camera and too near it."""
        depth = self.camera.depth(origin)
        return self.camera.focal / depth if depth > TOO_NEAR else 0.0


@cache
def _ring(corners: int) -> tuple[tuple[float, float], ...]:
    """Return the corners of a regular polygon of radius 1, the first one at the top."""
    angles = [2 * math.pi * number / corners for number in range(corners)]
    return tuple((math.sin(angle), math.cos(angle)) for angle in angles)


def circle(x: float, y: float, radius: float, corners: int = 12) -> Flat:
    """Return a regular polygon around (x, y) with a corner at its top."""
    return [(x + radius * across, y + radius * up) for across, up in _ring(corners)]


def box(left: float, bottom: float, right: float, top: float) -> Flat:
    """Return the corners of a rectangle."""
    return [(left, bottom), (right, bottom), (right, top), (left, top)]


def limb(start: tuple[float, float], end: tuple[float, float], start_width: float, end_width: float) -> Flat:
    """Return the corners of a tapered bar between two points."""
    along, up = end[0] - start[0], end[1] - start[1]
    length = 2 * max(math.hypot(along, up), 1e-6)
    x, y = -up / length, along / length
    return [
        (start[0] + x * start_width, start[1] + y * start_width),
        (start[0] - x * start_width, start[1] - y * start_width),
        (end[0] - x * end_width, end[1] - y * end_width),
        (end[0] + x * end_width, end[1] + y * end_width),
    ]
