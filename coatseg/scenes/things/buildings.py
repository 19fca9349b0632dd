"""Paint houses, boxes with facades, roofs and shop signs, and the skyline behind everything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np

from coatseg.scenes.things.facades import BAYS, LEVELS, LIT, STOREYS, facades
from coatseg.scenes.things.signs import draw_shop_sign
from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.canvas import BUILDING, pack, unpack
from coatseg.scenes.world.colours import Colour, grey, mixed, scaled, varied
from coatseg.scenes.world.stage import Stage
from coatseg.scenes.world.street import Street
from coatseg.scenes.world.textures import NEUTRAL, Bytes
from coatseg.scenes.world.walls import Wall, lay_over

WALL_COLOURS: list[Colour] = [
    (150, 84, 66), (126, 72, 60), (172, 112, 86), (98, 66, 58), (226, 220, 206), (238, 236, 230), (214, 196, 160),
    (206, 168, 116), (196, 150, 134), (160, 158, 154), (128, 128, 128), (186, 184, 180), (96, 98, 102), (70, 72, 78),
    (146, 162, 172), (168, 182, 160), (206, 206, 214), (112, 104, 92), (176, 198, 212),
]  # fmt: skip
GLASS_COLOURS: list[Colour] = [
    (40, 48, 58), (62, 76, 90), (96, 118, 134), (52, 60, 56), (130, 152, 170), (30, 34, 40),
]  # fmt: skip
ROOF_COLOURS: list[Colour] = [
    (140, 74, 56), (92, 60, 52), (70, 72, 78), (104, 100, 96), (50, 52, 56), (120, 96, 80),
]  # fmt: skip
BLIND: Colour = (220.0, 210.0, 196.0)
LAMPLIT: list[Colour] = [(255, 214, 140), (255, 236, 190), (236, 220, 200)]
STOREY, BAY = (2.8, 3.8), (2.2, 3.9)
FINENESS = 1.3
"""How many pixels of a facade are wanted for one pixel of the image."""
VEIL_STEP = 0.08
"""A wall along which the haze changes by more than this is shaded in steps."""


@dataclass(frozen=True)
class House:
    """A house as a box: on `side` -1 or 1, from `start` to `end` along the street, `front` metres from its centre line.

    `colours` are those of the facade's materials; `gable` is the height of the roof, 0 for a flat one.
    """

    side: int
    start: float
    end: float
    front: float
    depth: float
    storeys: int
    storey: float
    bay: float
    facade: int
    colours: tuple[Colour, ...]
    roof: Colour
    gable: float
    shop_sign: bool

    @property
    def height(self) -> float:
        """The height of the walls in metres."""
        return self.storeys * self.storey

    def corners(self, street: Street) -> tuple[Point, Point, Point, Point]:
        """Return the corners on the ground: near front, far front, far back, near back."""
        near, far = self.side * self.front, self.side * (self.front + self.depth)
        start, end = self.start, self.end
        return street.point(near, start), street.point(near, end), street.point(far, end), street.point(far, start)


def draw_colours(rng: Random) -> tuple[Colour, ...]:
    """Draw random colours for a facade's materials: wall, trim, panes, blinds, lit panes, door, band, dark."""
    wall = varied(rng, WALL_COLOURS, (0.8, 1.15), 7)
    trim = scaled(wall, rng.uniform(0.5, 1.4)) if rng.random() < 0.5 else grey(rng.uniform(40, 240))
    glass = varied(rng, GLASS_COLOURS, (0.8, 1.3), 3)
    door, band = (
        mixed(wall, (rng.uniform(20, 160), rng.uniform(20, 160), rng.uniform(20, 160)), 0.6) for _ in range(2)
    )
    return wall, trim, glass, mixed(glass, BLIND, 0.5), scaled(glass, 1.15), door, band, grey(35.0)


def draw_house(stage: Stage, house: House) -> None:
    """Paint the roof of a house, then its front and near end where they face the camera."""
    near_front, far_front, _, near_back = house.corners(stage.street)
    pairs = ((near_front, far_front), (near_back, near_front))
    walls = [Wall(*(pair if house.side < 0 else pair[::-1]), house.height) for pair in pairs]
    if house.gable > 0:
        _draw_gable(stage, house, walls[0])
    for wall in walls:
        if wall.faces_camera():
            _draw_wall(stage, house, wall)
    if house.shop_sign:
        draw_shop_sign(stage, walls[0].start, walls[0].end, walls[0].normal, house.storey)


def _draw_wall(stage: Stage, house: House, wall: Wall) -> None:
    """Paint part of the house's facade on a wall, with light and haze."""
    outline = stage.camera.outline(wall.corners)
    box = stage.canvas.clip(outline)
    if box is None:
        return
    bays = min(max(round(wall.length / house.bay), 1), BAYS)
    across, down = np.ptp(outline, axis=0).tolist()
    wanted = FINENESS * max(across / bays, down / house.storeys)
    level = next((number for number in (2, 1) if LEVELS[number] >= wanted), 0)
    cell, facade = LEVELS[level], facades()[house.facade]
    rows, columns = slice((STOREYS - house.storeys) * cell, None), slice(0, bays * cell)
    picture = _coloured(stage, house, facade.materials[level][rows, columns], wall)
    picture = cv2.multiply(picture, facade.grain[level][rows, columns], scale=1 / NEUTRAL)
    lay_over(stage, wall, picture, outline, box)


def _coloured(stage: Stage, house: House, materials: Bytes, wall: Wall) -> Bytes:
    """Colour materials (h, w) to a picture (h, w, 4); along a long wall the haze changes in steps."""
    light = stage.light
    depths = [max(stage.camera.depth(end), 1.0) for end in (wall.start, wall.end)]
    steps = 4 if abs(depths[1] - depths[0]) / light.reach > VEIL_STEP else 1
    lit = np.array(house.colours) * (light.ambient + light.sun_colour * max(light.facing(wall.normal), 0.0))
    if light.dark > 0:
        lit[LIT] = scaled(LAMPLIT[house.facade % len(LAMPLIT)], 0.6 + 0.4 * light.dark)
    pieces = []
    for step, piece in enumerate(np.array_split(materials, steps, axis=1) if steps > 1 else [materials]):
        share = (step + 0.5) / steps
        veiled = light.veil(lit, depths[0] * (1 - share) + depths[1] * share)
        pieces.append(unpack(pack(veiled, BUILDING).take(piece)))
    return np.concatenate(pieces, axis=1) if steps > 1 else pieces[0]


def _draw_gable(stage: Stage, house: House, front: Wall) -> None:
    """Paint a roof with its ridge along the street, and the gables below it in the wall's colour."""
    light, camera = stage.light, stage.camera
    depth = max(camera.depth(front.start), camera.depth(front.end), 1.0)
    outwards = np.array(front.normal)
    inward = -house.depth * outwards
    up = np.array((0.0, house.height, 0.0))
    a, b = np.array(front.start) + up, np.array(front.end) + up
    ridge = inward / 2 + (0.0, house.gable, 0.0)
    eave = 0.4 * outwards - (0.0, 0.2, 0.0)
    steepness = math.hypot(house.gable, house.depth / 2)
    slope = (
        front.normal[0] * house.gable / steepness,
        house.depth / 2 / steepness,
        front.normal[2] * house.gable / steepness,
    )
    wall = light.shade(np.array(house.colours[0]), 0.2, depth)
    roof = light.shade(np.array(house.roof), light.facing(slope), depth)
    for polygon, colour in (
        ((a, a + inward, a + ridge), wall),
        ((b, b + inward, b + ridge), wall),
        ((a + eave, b + eave, b + ridge, a + ridge), roof),
    ):
        stage.canvas.polygon(camera.outline(np.array(polygon)), colour, BUILDING)


def draw_skyline(stage: Stage, distance: float) -> None:
    """Paint far blocks of buildings along the horizon."""
    rng, light, camera = stage.rng, stage.light, stage.camera
    blocks, colours = [], []
    for step in range(-14, 14):
        if rng.random() < 0.3:
            continue
        left, height = 0.11 * step + rng.gauss(0, 0.03), rng.gammavariate(3.0, 5.0) + 4
        right = left + rng.uniform(0.06, 0.14)
        (x0, z0), (x1, z1) = (
            (
                distance * (camera.forward[0] + side * camera.right[0]),
                distance * (camera.forward[2] + side * camera.right[2]),
            )
            for side in (left, right)
        )
        blocks += [(x0, -3.0, z0), (x1, -3.0, z1), (x1, height, z1), (x0, height, z0)]
        colours.append(varied(rng, WALL_COLOURS, (0.7, 1.0), 4))
    if colours:
        seen = camera.seen(np.array(blocks))
        shaded = light.shade(np.array(colours), 0.3, distance)
        stage.canvas.polygons(seen[:, :2] / seen[:, 2:], range(4, len(blocks) + 1, 4), shaded, BUILDING)
