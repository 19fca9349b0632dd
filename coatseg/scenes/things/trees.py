"""Paint trees: trunks with irregular crowns, near and far."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import cv2
import numpy as np

from coatseg.scenes.things.crowns import SPRITE, crowns
from coatseg.scenes.world.camera import Point
from coatseg.scenes.world.canvas import TREE, Box, blend_table, unpack
from coatseg.scenes.world.colours import Colour, mixed, scaled, varied
from coatseg.scenes.world.stage import Shape, Stage, limb
from coatseg.scenes.world.textures import NEUTRAL, TILE, Bytes, texture

NEAREST = 1.5
"""Crowns nearer than this many metres are not painted."""
FRAYED_FROM = 110
"""Crowns larger than this many pixels get finer leaves than their sprite has (see DETAIL)."""
DETAIL = 0.7
"""The strength of these finer leaves."""
MASKED = 110
"""There is foliage where the mask exceeds this."""

LEAF_COLOURS: list[Colour] = [
    (62, 96, 42), (84, 116, 50), (48, 80, 44), (104, 128, 62), (74, 92, 66), (120, 132, 80), (44, 66, 48),
    (186, 132, 46), (168, 82, 40), (140, 60, 44), (128, 110, 70), (206, 170, 80), (222, 186, 196),
]  # fmt: skip
GREENS = 7
"""How many of the leaf colours, the first ones, are those of summer."""
SUMMER = 0.86
"""The share of trees in summer colours only."""
KINDS = {"round": 0.78, "conifer": 0.14, "bare": 0.08}
BARK_COLOURS: list[Colour] = [(92, 74, 60), (70, 60, 52), (118, 108, 98), (54, 44, 40), (150, 146, 138)]
SNOWY: Colour = (226.0, 230.0, 236.0)


@dataclass(frozen=True)
class Foliage:
    """The look of a tree: the kind of its crown, the colours of leaves and bark, its height and width in metres."""

    kind: str
    leaf: Colour
    bark: Colour
    height: float
    width: float


def draw_foliage(rng: Random, snow: float) -> Foliage:
    """Draw a random look of a tree."""
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    summer = kind == "conifer" or rng.random() < SUMMER
    leaf = varied(rng, LEAF_COLOURS[:GREENS] if summer else LEAF_COLOURS, (0.75, 1.2), 6)
    bark = varied(rng, BARK_COLOURS, (0.8, 1.2), 4)
    height = rng.uniform(4.0, 11.0)
    return Foliage(kind, mixed(leaf, SNOWY, 0.5 * snow), bark, height, height * rng.uniform(0.5, 0.95))


def draw_tree(stage: Stage, origin: Point, look: Foliage) -> None:
    """Paint the trunk and the crown of a tree."""
    rng = stage.rng
    if stage.scale(origin) * look.height < 8:
        return
    share = {"round": rng.uniform(0.2, 0.42), "conifer": 0.12, "bare": 0.25}[look.kind]
    radius, lean = look.height * rng.uniform(0.018, 0.03), rng.gauss(0, 0.02) * look.height
    top = look.height * (share + 0.12)
    half = radius / 2
    trunk = [
        Shape(limb((-half, 0.0), (lean - half, top), radius * 1.2, radius), look.bark, 0.8),
        Shape(limb((half, 0.0), (lean + half, top), radius * 1.2, radius), scaled(look.bark, 0.8), 0.1),
    ]
    stage.paint(origin, trunk, TREE)
    width = look.width * (0.6 if look.kind == "conifer" else 1.0)
    place = (lean - width / 2, look.height * share, width, look.height * (1 - share))
    _stamp(stage, origin, look.kind, look.bark if look.kind == "bare" else look.leaf, place)


def draw_woods(stage: Stage, distance: float) -> None:
    """Paint far trees along the horizon."""
    rng, camera = stage.rng, stage.camera
    look = draw_foliage(rng, stage.light.snow)
    half = 0.5 * camera.size[1] / camera.focal
    left = -1.1 * half
    while left < 1.1 * half:
        x, z = (distance * (camera.forward[axis] + left * camera.right[axis]) for axis in (0, 2))
        width = rng.uniform(14, 30)
        place = (-width / 2, -2.0, width, rng.uniform(8, 15))
        leaf = mixed(look.leaf, varied(rng, LEAF_COLOURS[:GREENS], (0.8, 1.1), 4), 0.4)
        _stamp(stage, (x, 0.0, z), "round", leaf, place)
        left += 0.55 * width / distance


def _stamp(stage: Stage, origin: Point, kind: str, tint: Colour, place: tuple[float, float, float, float]) -> None:
    """Paint a crown, facing the camera, in the rectangle (left, bottom, width, height), in metres from `origin`."""
    left, bottom, width, height = place
    corners = np.array(((left, bottom + height, 1.0), (left + width, bottom, 1.0)))
    (x0, y0, depth), (x1, y1, lower_depth) = (corners @ stage.camera.plane(origin, stage.camera.right)).tolist()
    if min(depth, lower_depth) < NEAREST:
        return
    x, y = round(x0 / depth), round(y0 / depth)
    size = (round(x1 / lower_depth) - x, round(y1 / lower_depth) - y)
    rows, columns = stage.canvas.size
    cut = max(0, -x), max(0, -y), min(size[0], columns - x), min(size[1], rows - y)
    if min(size) < 3 or cut[2] <= cut[0] or cut[3] <= cut[1]:
        return
    bank = crowns()[kind]
    sprite = bank[stage.rng.randrange(len(bank))]
    grey, mask = _frayed(_resized(sprite.grey, size, cut), _resized(sprite.mask, size, cut), size)
    dark, light = stage.light.shade(np.array((scaled(tint, 0.28), scaled(tint, 1.55))), np.array((0.15, 0.8)), depth)
    picture = unpack(blend_table(dark, light, TREE).take(grey))
    cv2.copyTo(picture, mask, stage.canvas.pixels[y + cut[1] : y + cut[3], x + cut[0] : x + cut[2]])


def _frayed(grey: Bytes, mask: Bytes, size: tuple[int, int]) -> tuple[Bytes, Bytes]:
    """Return a crown's picture and sharpened mask, with finer leaves if it is painted large."""
    if max(size) <= FRAYED_FROM:
        return grey, cv2.threshold(mask, MASKED, 255, cv2.THRESH_BINARY)[1]
    leaves = _leaf_detail(mask.shape[0], mask.shape[1])
    finer = cv2.addWeighted(grey, 1.0, leaves, DETAIL, -DETAIL * NEUTRAL)
    return finer, cv2.compare(cv2.addWeighted(mask, 0.66, leaves, 0.33, 0), 0.66 * MASKED + 0.33 * NEUTRAL, cv2.CMP_GT)


def _leaf_detail(height: int, width: int) -> Bytes:
    """Return leaves (height, width) for a crown that is painted large."""
    leaves = texture("leaves")
    if max(height, width) > TILE:
        leaves = np.tile(leaves, (-(-height // TILE), -(-width // TILE)))
    return leaves[:height, :width]


def _resized(part: Bytes, size: tuple[int, int], cut: Box) -> Bytes:
    """Return only the part `cut` (left, top, right, bottom) of a sprite resized to `size` (width, height)."""
    left, top, right, bottom = cut
    if max(size) < SPRITE:
        small: Bytes = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(small[top:bottom, left:right])
    across, down = SPRITE / size[0], SPRITE / size[1]
    matrix = np.array(((across, 0.0, left * across), (0.0, down, top * down)))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    large: Bytes = cv2.warpAffine(
        part, matrix, (right - left, bottom - top), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return large
