"""Shadows on the ground, as outlines seen from above."""

from __future__ import annotations

import math

import cv2
import numpy as np

from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.light import Light

Footprint = list[tuple[float, float]]
"""A convex outline on the ground: X and Z of its corners."""

LONGEST = 25.0
"""Metres that a shadow reaches at most."""


def fall(light: Light, height: float) -> tuple[float, float]:
    """Give how far, along X and Z, the shadow of a point at `height` metres falls."""
    reach = -min(height / max(light.sun[1], 0.15), LONGEST)
    return reach * light.sun[0], reach * light.sun[2]


def of_block(light: Light, footprint: Footprint, height: float) -> Footprint:
    """Give the shadow of something that stands on a footprint."""
    dx, dz = fall(light, height)
    corners = np.array([*footprint, *((x + dx, z + dz) for x, z in footprint)], np.float32)
    hull: Footprint = cv2.convexHull(corners).reshape(-1, 2).tolist()
    return hull


def of_mast(light: Light, origin: Point, height: float, width: float) -> Footprint:
    """Give the shadow of something tall and thin."""
    dx, dz = fall(light, height)
    length = max(math.hypot(dx, dz), 1e-6)
    ex, ez = width / 2 * dx / length, width / 2 * dz / length
    x, z = origin[0], origin[2]
    return [
        (x - ex - ez, z - ez + ex), (x - ex + ez, z - ez - ex), (x + dx + ez, z + dz - ex), (x + dx - ez, z + dz + ex),
    ]  # fmt: skip


def of_crown(light: Light, origin: Point, height: float, radius: float) -> Footprint:
    """Give the shadow of a ball of leaves at `height` metres."""
    dx, dz = fall(light, height)
    angles = [math.pi * step / 4 for step in range(8)]
    return [(origin[0] + dx + radius * math.cos(angle), origin[2] + dz + radius * math.sin(angle)) for angle in angles]
