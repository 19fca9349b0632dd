"""Paint the sky: a gradient, clouds, a glow around the sun."""

from __future__ import annotations

import math

import cv2
import numpy as np

from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.stage import Stage
from coatseg.scenes.world.textures import TILE, Floats, texture

COARSE = 2
"""The sky has no sharp edges, so it is painted smaller by this factor and enlarged."""


def draw_sky(stage: Stage) -> None:
    """Paint the sky from the top of the canvas to just below the horizon."""
    height, width = stage.canvas.size
    camera, light, rng = stage.camera, stage.light, stage.rng
    tilt = abs(math.tan(camera.roll)) * width / 2
    rows = int(min(height, max(1.0, camera.horizon + tilt + 2)))
    small = (max(1, width // COARSE), max(1, rows // COARSE))
    climb = (camera.horizon - np.linspace(0, rows, small[1], dtype=np.float32)) / np.float32(camera.focal)
    share = np.clip(climb / rng.uniform(0.35, 1.0), 0, 1)[:, None] ** np.float32(rng.uniform(0.5, 1.0))
    ramp = light.horizon.astype(np.float32) * (1 - share) + light.zenith.astype(np.float32) * share
    picture = np.repeat(ramp[:, None], small[0], axis=1)
    cover = rng.uniform(*light.hour.cover)
    if cover > 0.05:
        picture += _clouds(stage, small, cover) * (light.cloud.astype(np.float32) - picture)
    if light.shadow > 0.25 and camera.depth(_above(light.sun, camera.height)) > 0.05:
        picture += _sun_glow(stage, small, rows) * (np.float32(255) - picture)
    whole = cv2.resize(np.clip(picture, 0, 255).astype(np.uint8), (width, rows))
    cv2.mixChannels([whole], [stage.canvas.pixels[:rows]], [0, 0, 1, 1, 2, 2])


def _above(direction: Point, height: float) -> Point:
    """Return the point one metre from the camera in a direction."""
    return direction[0], direction[1] + height, direction[2]


def _clouds(stage: Stage, small: tuple[int, int], cover: float) -> Floats:
    """Return the opacity of the clouds, (rows, columns, 3) float32 of 0 to 1."""
    rng = stage.rng
    extent = rng.randrange(60, 160)
    top, left = rng.randrange(TILE - extent), rng.randrange(TILE - extent)
    crop = cv2.resize(texture("clouds")[top : top + extent, left : left + extent], small).astype(np.float32)
    middle, spread = crop.mean() + (0.5 - cover) * 90, rng.uniform(15, 45)
    opacity = np.clip((crop - middle) / np.float32(spread) + 0.5, 0, 1) * np.float32(rng.uniform(0.5, 1))
    return np.asarray(cv2.merge([opacity] * 3))


def _sun_glow(stage: Stage, small: tuple[int, int], rows: int) -> Floats:
    """Return the glow of the sun, (rows, columns, 3) float32 of 0 to 1."""
    camera = stage.camera
    seen = camera.matrix @ np.array(stage.light.sun)
    column, row = (seen[:2] / seen[2]).tolist()
    spread = np.float32(0.3 * camera.focal)
    across = np.exp(-np.abs(np.linspace(0, camera.size[1], small[0], dtype=np.float32) - np.float32(column)) / spread)
    down = np.exp(-np.abs(np.linspace(0, rows, small[1], dtype=np.float32) - np.float32(row)) / spread)
    return np.asarray(cv2.merge([down[:, None] * across[None]] * 3))
