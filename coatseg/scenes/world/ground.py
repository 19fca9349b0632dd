"""Paint the ground: road, markings, kerbs and pavements, each pixel by the point of the street that it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import cv2
import numpy as np

from coatseg.scenes.world.camera import NEAR, Point, flattened
from coatseg.scenes.world.canvas import PAVEMENT, ROAD, SKY
from coatseg.scenes.world.colours import Colour, grey, mixed, scaled, varied
from coatseg.scenes.world.shadows import Footprint
from coatseg.scenes.world.stage import Stage
from coatseg.scenes.world.street import Street
from coatseg.scenes.world.textures import NEUTRAL, TILE, Bytes, Floats, texture


@dataclass(frozen=True)
class Surfaces:
    """Textures with their shares, and the ranges of their resolution, in pixels per metre, and of their strength."""

    shares: dict[str, float]
    texels: tuple[float, float]
    strength: tuple[float, float]


ROAD_SURFACES = Surfaces({"asphalt": 0.86, "concrete": 0.08, "cobbles": 0.06}, (56.0, 72.0), (0.5, 1.0))
PAVEMENT_SURFACES = Surfaces(
    {
        "slabs": 0.28, "long_slabs": 0.22, "pavers": 0.22, "bricks": 0.1,
        "cobbles": 0.12, "concrete": 0.03, "asphalt": 0.03,
    },
    (30.0, 64.0),
    (0.9, 1.6),
)  # fmt: skip
ROAD_COLOURS: list[Colour] = [
    (66, 66, 68), (84, 84, 86), (98, 97, 96), (118, 115, 111), (100, 88, 80), (80, 84, 92),
]  # fmt: skip
PAVEMENT_COLOURS: list[Colour] = [
    (158, 153, 146), (138, 136, 133), (182, 173, 158), (112, 110, 108), (166, 106, 84), (152, 128, 104),
    (124, 128, 130),
]  # fmt: skip
SNOW_COLOUR: Colour = (225.0, 229.0, 236.0)
YELLOW: Colour = (215.0, 170.0, 60.0)

FADED = 18.0
"""The distance in metres at which textures have half their strength, for a focal length of 256 pixels."""
LAMP_RADIUS = 6.0
"""The distance in metres from a lamp at which its light on the ground is halved."""
LEAST_SHADOW = 0.3
"""The share of light that is missing under things when there is no sun."""

FAR_OFF = 20_000
"""The coordinate in pixels to which corners of shadows are clipped."""

ASPHALT, PAVED, WHITE_PAINT, MIDDLE_PAINT, KERB = range(5)
LABELS = np.array([ROAD, PAVEMENT, ROAD, ROAD, PAVEMENT] + [SKY] * 251, np.uint8)


@dataclass(frozen=True)
class Pixels:
    """The positions of the ground's pixels: street coordinates and depth, each (rows, W) float32."""

    s: Floats
    t: Floats
    depth: Floats


def draw_ground(stage: Stage, shadows: Sequence[Footprint], lamps: Sequence[Point]) -> None:
    """Paint the ground below the horizon. `shadows` are outlines on the ground; `lamps` light it at night."""
    camera, rng = stage.camera, stage.rng
    height, width = stage.canvas.size
    top = int(min(max(camera.horizon - abs(math.tan(camera.roll)) * width / 2 - 2, 0), height - 1))
    x, z, depth = camera.ground(top)
    pixels = Pixels(x - stage.street.centres(z), z, depth)
    surface = _surfaces(stage.street, pixels, rng)
    labels = cv2.LUT(surface, LABELS)
    road = _grain(pixels, rng, ROAD_SURFACES, camera.focal)
    paved = _grain(pixels, rng, PAVEMENT_SURFACES, camera.focal)
    factor = np.where(labels == PAVEMENT, paved, road) + np.float32(1)
    factor *= _light_left(stage, top, shadows)
    if stage.light.dark > 0 and lamps:
        factor *= _pools(x, z, lamps)
    kept = np.exp(-depth / np.float32(stage.light.reach))
    colour = cv2.multiply(np.take(_colours(stage), surface, axis=0), cv2.merge([factor * kept] * 3))
    lost = np.float32(1) - kept
    picture = cv2.convertScaleAbs(colour + cv2.merge([lost * shade for shade in stage.light.air.astype(np.float32)]))
    below = np.isfinite(depth).view(np.uint8)
    cv2.copyTo(cv2.merge([*cv2.split(picture), labels]), below, stage.canvas.pixels[top:])


def _colours(stage: Stage) -> Floats:
    """Draw a random colour for each surface, and return it lit, (5, 3) float32."""
    rng, light = stage.rng, stage.light
    road = varied(rng, ROAD_COLOURS, (0.7, 1.1), 5)
    paved = varied(rng, PAVEMENT_COLOURS, (0.9, 1.2), 6)
    white = grey(rng.uniform(170, 235))
    middle = scaled(YELLOW, rng.uniform(0.8, 1.1)) if rng.random() < 0.3 else white
    kerb = scaled(paved, rng.choice((rng.uniform(0.6, 0.8), rng.uniform(1.15, 1.4))))
    lying = (rng.uniform(0.1, 0.8), 1.0, 0.3, 0.3, 0.9)
    bare = [scaled(colour, 1 - 0.3 * light.wet) for colour in (road, paved, white, middle, kerb)]
    colours = [mixed(colour, SNOW_COLOUR, light.snow * share) for colour, share in zip(bare, lying, strict=True)]
    return np.asarray((np.array(colours) * (light.ambient + light.sun_colour * light.sun[1])).astype(np.float32))


def _surfaces(street: Street, pixels: Pixels, rng: Random) -> Bytes:
    """Return the surface of every pixel, (rows, W) uint8."""
    s, t = pixels.s, pixels.t
    across = np.abs(s)
    surface = np.where(across < street.half, np.uint8(ASPHALT), np.uint8(KERB))
    surface[across > street.half + rng.uniform(0.12, 0.3)] = PAVED
    _lane_lines(surface, street, pixels, rng)
    zebra = rng.random() < 0.75
    period = np.float32(rng.uniform(0.9, 1.3))
    for start, end in street.crossings:
        surface[(t > start) & (t < end)] = ASPHALT
        for near in (start - 3.6, end + 0.6) if zebra else ():
            band = (t > near) & (t < near + 3.0) & (across < street.half)
            surface[band] = np.where(np.mod(s[band], period) < period / 2, np.uint8(WHITE_PAINT), np.uint8(ASPHALT))
    return surface


def _lane_lines(surface: Bytes, street: Street, pixels: Pixels, rng: Random) -> None:
    """Paint the lines between lanes and along the kerbs."""
    style = rng.random()
    if style < 0.12:
        return
    dash, width = rng.uniform(4, 9), rng.uniform(0.07, 0.13)
    phase = pixels.t * np.float32(1 / dash)
    dashed = phase - np.floor(phase) < 0.5
    lane = 2 * (street.half - 1.1) / street.lanes
    for line in range(1, street.lanes):
        middle = 2 * line == street.lanes
        on_line = np.abs(pixels.s - (line * lane - street.half + 1.1)) < width
        surface[on_line if middle and style > 0.6 else on_line & dashed] = MIDDLE_PAINT if middle else WHITE_PAINT
    if style > 0.4:
        surface[np.abs(np.abs(pixels.s) - (street.half - 0.35)) < width] = WHITE_PAINT


def _grain(pixels: Pixels, rng: Random, surfaces: Surfaces, focal: float) -> Floats:
    """Sample a random texture over the ground, (rows, W) float32 around 0, which fades with distance."""
    name = rng.choices(list(surfaces.shares), list(surfaces.shares.values()))[0]
    texels, strength = np.float32(rng.uniform(*surfaces.texels)), rng.uniform(*surfaces.strength)
    column = (pixels.s * texels).astype(np.int32) & (TILE - 1)
    row = (pixels.t * texels).astype(np.int32) & (TILE - 1)
    tone = texture(name).ravel().take(row * TILE + column).astype(np.float32)
    fade = np.float32(strength / NEUTRAL) / (1 + (pixels.depth * np.float32(256 / FADED / focal)) ** 2)
    return np.asarray((tone - NEUTRAL) * fade)


def _light_left(stage: Stage, top: int, shadows: Sequence[Footprint]) -> Floats:
    """Return the share of light that shadows leave, (rows, W) float32."""
    height, width = stage.canvas.size
    mask = np.zeros((height - top, width), np.uint8)
    ground = np.array([(x, 0.0, z) for outline in shadows for x, z in outline]).reshape(-1, 3)
    seen = stage.camera.seen(ground)
    flat = np.clip(seen[:, :2] / np.maximum(seen[:, 2:], NEAR) - (0, top), -FAR_OFF, FAR_OFF).astype(np.int32)
    cut_off = seen[:, 2] < NEAR
    start = 0
    for shadow in shadows:
        end = start + len(shadow)
        outline = flat[start:end]
        if cut_off[start:end].any():
            outline = np.clip(flattened(seen[start:end]) - (0, top), -FAR_OFF, FAR_OFF).astype(np.int32)
        if len(outline) > 2:
            cv2.fillConvexPoly(mask, outline, 255)
        start = end
    strength = max(stage.light.shadow, LEAST_SHADOW)
    table = (1 - strength * np.linspace(0, 1, 256)).astype(np.float32)
    return np.asarray(cv2.LUT(cv2.blur(mask, (3, 3)), table))


def _pools(x: Floats, z: Floats, lamps: Sequence[Point]) -> Floats:
    """Return the factor of lamplight on the ground, (rows, W) float32."""
    light = np.full(x.shape, 0.8, np.float32)
    for lamp in lamps[:6]:
        squared = (x - np.float32(lamp[0])) ** 2 + (z - np.float32(lamp[2])) ** 2
        light += np.float32(1.3) / (1 + squared * np.float32(1 / LAMP_RADIUS**2))
    return light
