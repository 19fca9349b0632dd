"""The shadows of things on the ground, as outlines seen from above."""

from __future__ import annotations

import math

import cv2
import numpy as np

from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.light import Light

Footprint = list[tuple[float, float]]
"""A convex outline on the ground: X and Z of its corners."""

LONGEST = 25.0
"""The greatest length of a shadow in metres."""


def fall(light: Light, height: float) -> tuple[float, float]:
    """Return the offset along X and Z, in metres, of the shadow of a point at `height` metres."""
    reach = -min(height / max(light.sun[1], 0.15), LONGEST)
    return reach * light.sun[0], reach * light.sun[2]


def of_block(light: Light, footprint: Footprint, height: float) -> Footprint:
    """Return the shadow of a block that stands on a footprint."""
    dx, dz = fall(light, height)
    corners = np.array([*footprint, *((x + dx, z + dz) for x, z in footprint)], np.float32)
    hull: Footprint = cv2.convexHull(corners).reshape(-1, 2).tolist()
    return hull


def of_mast(light: Light, origin: Point, height: float, width: float) -> Footprint:
    """Return the shadow of a tall, thin thing."""
    dx, dz = fall(light, height)
    length = max(math.hypot(dx, dz), 1e-6)
    ex, ez = width / 2 * dx / length, width / 2 * dz / length
    x, z = origin[0], origin[2]
    return [
        (x - ex - ez, z - ez + ex), (x - ex + ez, z - ez - ex), (x + dx + ez, z + dz - ex), (x + dx - ez, z + dz + ex),
    ]  # fmt: skip


def of_crown(light: Light, origin: Point, height: float, radius: float) -> Footprint:
    """Return the shadow of a round crown at `height` metres."""
    dx, dz = fall(light, height)
    angles = [math.pi * step / 4 for step in range(8)]
    return [(origin[0] + dx + radius * math.cos(angle), origin[2] + dz + radius * math.sin(angle)) for angle in angles]
