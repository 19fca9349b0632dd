"""Render one scene, from its random numbers to a photograph and its truth."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import cv2
import numpy as np

from coatseg.scenes.layout.furniture import furnish
from coatseg.scenes.layout.placing import Placed
from coatseg.scenes.layout.planting import plants
from coatseg.scenes.layout.plots import houses
from coatseg.scenes.layout.traffic import Traffic, drive, walk
from coatseg.scenes.things.buildings import draw_skyline
from coatseg.scenes.things.trees import draw_woods
from coatseg.scenes.world.camera import Camera, Point
from coatseg.scenes.world.canvas import FIRST_THING, Canvas
from coatseg.scenes.world.film import develop
from coatseg.scenes.world.ground import draw_ground
from coatseg.scenes.world.light import draw_light
from coatseg.scenes.world.sky import draw_sky
from coatseg.scenes.world.stage import Stage
from coatseg.scenes.world.street import FARTHEST, draw_street
from coatseg.scenes.world.textures import Bytes
from coatseg.structures import Size

FOCAL = (0.75, 1.35)
"""The range of the focal length, in image heights."""
HORIZON = (0.25, 0.6)
"""The range of the horizon's row, in image heights."""
EYE_LEVEL, HIGH_UP = (1.25, 2.3), (2.5, 5.5)
YAW, ROLL = 0.16, 0.025
"""The standard deviations of yaw and roll, in radians."""

SKYLINE_SHARE, WOODS_SHARE = 0.55, 0.3
"""The shares of scenes with far houses, and with far trees, along the horizon."""

SMALLEST = 12
"""An object with fewer visible pixels is removed."""


@dataclass(frozen=True)
class Scene:
    """A photograph (H, W, 3) uint8, the identity of each pixel (H, W) uint8, and the class number of each identity."""

    image: Bytes
    ids: Bytes
    labels: tuple[int, ...]


def render(rng: Random, size: Size) -> Scene:
    """Render one scene of `size` (height, width), a function of the state of `rng`."""
    camera = _draw_camera(rng, size)
    stage = Stage(Canvas(size), camera, draw_light(rng), draw_street(rng), rng)
    placed, lamps = _lay_out(stage)
    draw_sky(stage)
    draw_ground(stage, [thing.shadow for thing in placed if thing.shadow is not None], lamps)
    backdrop = rng.random()
    if backdrop < SKYLINE_SHARE:
        draw_skyline(stage, FARTHEST * rng.uniform(1.2, 2.5))
    elif backdrop < SKYLINE_SHARE + WOODS_SHARE:
        draw_woods(stage, FARTHEST)
    for thing in placed:
        thing.draw()
    _take_away_crumbs(stage.canvas.pixels)
    return Scene(develop(stage), stage.canvas.pixels[..., 3].copy(), tuple(stage.canvas.labels))


def _lay_out(stage: Stage) -> tuple[list[Placed], list[Point]]:
    """Return all that stands along the street in the order of painting, far to near, and where the lamps stand."""
    lamps: list[Point] = []
    traffic = Traffic(stage)
    placed = [*houses(stage), *plants(stage), *drive(stage, traffic), *walk(stage, traffic), *furnish(stage, lamps)]
    placed.sort(key=lambda thing: -thing.t)
    return placed, lamps


def _draw_camera(rng: Random, size: Size) -> Camera:
    """Draw a camera at random: its height, focal length and direction."""
    height = rng.uniform(*(EYE_LEVEL if rng.random() < 0.75 else HIGH_UP))
    return Camera(
        size,
        focal=rng.uniform(*FOCAL) * size[0],
        horizon=rng.uniform(*HORIZON) * size[0],
        height=height,
        yaw=min(max(rng.gauss(0, YAW), -2.5 * YAW), 2.5 * YAW),
        roll=min(max(rng.gauss(0, ROLL), -3 * ROLL), 3 * ROLL),
    )


def _take_away_crumbs(pixels: Bytes) -> None:
    """Replace the pixels of objects that are too small by their neighbours, in colour and identity."""
    ids = cv2.extractChannel(pixels, 3)
    counts = cv2.calcHist([ids], [0], None, [256], [0, 256]).ravel()
    crumb = (counts > 0) & (counts < SMALLEST) & (np.arange(256) >= FIRST_THING)
    if not crumb.any():
        return
    height, width = ids.shape
    rows, columns = np.nonzero(cv2.LUT(ids, crumb.view(np.uint8)))
    for step in range(1, SMALLEST + 1):
        for down, across in ((0, -step), (0, step), (-step, 0), (step, 0)):
            there = np.clip(rows + down, 0, height - 1), np.clip(columns + across, 0, width - 1)
            good = ~crumb[ids[there]]
            pixels[rows[good], columns[good]] = pixels[there[0][good], there[1][good]]
            rows, columns = rows[~good], columns[~good]
