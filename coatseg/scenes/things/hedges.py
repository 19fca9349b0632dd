"""Paint hedges: clipped blocks of leaves along the pavements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.canvas import TREE, blend_table, unpack
from coatseg.scenes.world.colours import Colour, scaled
from coatseg.scenes.world.stage import Stage
from coatseg.scenes.world.textures import TILE, texture
from coatseg.scenes.world.walls import Wall, lay_over

TEXELS = (24, 60)
"""The resolution of leaves in pixels per metre, far away and near."""
NEAR = 15.0
"""The distance in metres up to which a hedge has the finer leaves."""


def draw_hedge(stage: Stage, corners: Sequence[Point], side: int, leaf: Colour, height: float) -> None:
    """Paint a hedge as a block on the ground, given its corners: near front, far front, far back, near back."""
    near_front, far_front, _, near_back = corners
    top = np.array([(x, height, z) for x, _, z in corners])
    depth = max(stage.camera.depth(near_front), 1.0)
    if stage.camera.height > height:
        lit = stage.light.shade(np.array(scaled(leaf, 1.15)), stage.light.sun[1], depth)
        stage.canvas.polygon(stage.camera.outline(top), lit, TREE)
    for pair in ((near_front, far_front), (near_back, near_front)):
        wall = Wall(*(pair if side < 0 else pair[::-1]), height)
        if wall.faces_camera():
            _draw_face(stage, wall, leaf, depth)


def _draw_face(stage: Stage, wall: Wall, leaf: Colour, depth: float) -> None:
    """Paint one side of a hedge with leaves."""
    outline = stage.camera.outline(wall.corners)
    box = stage.canvas.clip(outline)
    if box is None:
        return
    texels = TEXELS[depth < NEAR]
    width, height = (min(max(int(metres * texels), 4), TILE) for metres in (wall.length, wall.height))
    leaves = texture("leaves")[:height, :width]
    facing = stage.light.facing(wall.normal)
    dark, light = stage.light.shade(np.array((scaled(leaf, 0.3), scaled(leaf, 1.5))), facing, depth)
    lay_over(stage, wall, unpack(blend_table(dark, light, TREE).take(leaves)), outline, box)
