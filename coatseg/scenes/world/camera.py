"""The pinhole camera that looks down the street.

World axes: X to the right, Y up, Z along the street, in metres; the ground is Y = 0. The camera stands at X = Z = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from coatseg.scenes.world.textures import Floats
from coatseg.structures import Size

Point = tuple[float, float, float]

NEAR = 0.4
"""The depth of the near plane in metres; everything nearer is cut off."""


@dataclass(frozen=True)
class Camera:
    """A camera at `height` metres; angles in radians.

    `focal` is in pixels; `horizon` is the horizon's row at the image's centre; `yaw` turns to the right; `roll` tilts.
    """

    size: Size
    focal: float
    horizon: float
    height: float
    yaw: float
    roll: float

    @cached_property
    def right(self) -> Point:
        """The horizontal direction that runs to the right of the image."""
        return math.cos(self.yaw), 0.0, -math.sin(self.yaw)

    @cached_property
    def forward(self) -> Point:
        """The horizontal direction that the camera faces."""
        return math.sin(self.yaw), 0.0, math.cos(self.yaw)

    @cached_property
    def position(self) -> Floats:
        """The position of the camera in the world, (3,)."""
        return np.array([0.0, self.height, 0.0])

    @cached_property
    def matrix(self) -> Floats:
        """The 3 x 3 matrix that maps a world offset from the camera to (column * depth, row * depth, depth)."""
        height, width = self.size
        pitch = math.atan2(height / 2 - self.horizon, self.focal)
        forward = np.array(self.forward) * math.cos(pitch) - [0.0, math.sin(pitch), 0.0]
        right = np.array(self.right)
        down = np.cross(right, forward)
        cosine, sine = math.cos(self.roll), math.sin(self.roll)
        axes = np.stack([cosine * right + sine * down, cosine * down - sine * right, forward])
        lens = np.array([[self.focal, 0, width / 2], [0, self.focal, height / 2], [0, 0, 1]])
        return np.asarray(lens @ axes)

    @cached_property
    def backwards(self) -> Floats:
        """The transpose of `matrix`, by which rows of points are multiplied from the right."""
        return np.ascontiguousarray(self.matrix.T)

    def depth(self, point: Point) -> float:
        """Return the depth of a world point in metres, negative behind the camera."""
        x, y, z = self._depth_row
        return x * point[0] + y * (point[1] - self.height) + z * point[2]

    @cached_property
    def _depth_row(self) -> Point:
        x, y, z = self.matrix[2].tolist()
        return x, y, z

    def seen(self, points: Floats) -> Floats:
        """Map world points (N, 3) to (column * depth, row * depth, depth), (N, 3)."""
        return np.asarray((points - self.position) @ self.backwards)

    def outline(self, points: Floats) -> Floats:
        """Project a polygon (N, 3), cut at the near plane, to columns and rows (M, 2); M is 0 behind the camera."""
        return flattened(self.seen(points))

    def plane(self, origin: Point, right: Point) -> Floats:
        """Return the matrix (3, 3) from rows (x, y, 1), metres right and up from `origin`, to what `seen` returns."""
        offset = (origin[0], origin[1] - self.height, origin[2])
        return np.asarray(np.array((right, (0.0, 1.0, 0.0), offset)) @ self.backwards)

    def ground(self, first_row: int) -> tuple[Floats, Floats, Floats]:
        """Return X, Z and depth of the ground points that the pixels of the rows from `first_row` on show.

        Each is (rows, W) float32; the depth is infinite above the horizon.
        """
        height, width = self.size
        inverse = np.linalg.inv(self.matrix).astype(np.float32)
        column = np.arange(width, dtype=np.float32)[None] + np.float32(0.5)
        row = np.arange(first_row, height, dtype=np.float32)[:, None] + np.float32(0.5)
        x, y, z = (inverse[i, 0] * column + (inverse[i, 1] * row + inverse[i, 2]) for i in range(3))
        depth = np.where(y < -1e-5, np.float32(-self.height) / np.minimum(y, np.float32(-1e-5)), np.float32(np.inf))
        reach = np.minimum(depth, np.float32(2000.0))
        return x * reach, z * reach, depth


def flattened(seen: Floats) -> Floats:
    """Cut a polygon of (column * depth, row * depth, depth), (N, 3), at the near plane, and return columns and rows."""
    if seen[:, 2].min() < NEAR:
        seen = _cut(seen)
    return np.asarray(seen[:, :2] / seen[:, 2:])


def _cut(seen: Floats) -> Floats:
    """Cut a polygon (N, 3), in the camera's projective coordinates, at the near plane."""
    corners = seen.tolist()
    kept = []
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        if start[2] >= NEAR:
            kept.append(start)
        if (start[2] >= NEAR) != (end[2] >= NEAR):
            share = (NEAR - start[2]) / (end[2] - start[2])
            kept.append([a + (b - a) * share for a, b in zip(start, end, strict=True)])
    return np.array(kept).reshape(-1, 3)
