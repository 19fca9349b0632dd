"""Upright walls on the ground, and the painting of pictures on them in perspective."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.stage import Stage
from coatseg.scenes.world.textures import Bytes, Floats


@dataclass(frozen=True)
class Wall:
    """A wall on the ground from `start` to `end`, which is left to right as seen from outside."""

    start: Point
    end: Point
    height: float

    @property
    def corners(self) -> Floats:
        """The corners of the wall, (4, 3): lower left, lower right, upper right, upper left."""
        (x0, y0, z0), (x1, y1, z1) = self.start, self.end
        return np.array(((x0, y0, z0), (x1, y1, z1), (x1, y1 + self.height, z1), (x0, y0 + self.height, z0)))

    @property
    def length(self) -> float:
        """The length of the wall in metres."""
        return math.hypot(self.end[0] - self.start[0], self.end[2] - self.start[2])

    @property
    def normal(self) -> Point:
        """The horizontal direction that the wall faces."""
        return (self.end[2] - self.start[2]) / self.length, 0.0, -(self.end[0] - self.start[0]) / self.length

    def faces_camera(self) -> bool:
        """Return whether the camera, which stands at X = Z = 0, is in front of the wall."""
        normal = self.normal
        return self.start[0] * normal[0] + self.start[2] * normal[2] < -0.05


def lay_over(stage: Stage, wall: Wall, picture: Bytes, outline: Floats, box: tuple[int, int, int, int]) -> None:
    """Paint a picture (h, w, 4) on a wall whose outline on the canvas, (N, 2), lies within `box`."""
    height, width = picture.shape[:2]
    (x0, _, z0), (x1, _, z1) = wall.start, wall.end
    plane = np.array(
        (
            ((x1 - x0) / width, 0.0, x0),
            (0.0, -wall.height / height, wall.height - stage.camera.height),
            ((z1 - z0) / width, 0.0, z0),
        )
    )
    stage.canvas.warp(picture, stage.camera.matrix @ plane, outline, box)
