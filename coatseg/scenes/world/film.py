"""Turn a painted canvas into a photograph: wet ground, halos, exposure, colour cast, blur, noise, compression."""

from __future__ import annotations

from random import Random

import cv2
import numpy as np

from coatseg.scenes.world.canvas import PAVEMENT, ROAD, Glow
from coatseg.scenes.world.stage import Stage
from coatseg.scenes.world.textures import TILE, Bytes, grain, texture

LEVEL, NIGHT_LEVEL = (98.0, 140.0), (62.0, 92.0)
"""The ranges of the mean grey level that the camera exposes for, by day and at night."""
GAIN = (0.7, 1.9)
"""The range of the exposure's gain."""
GAMMA = (0.85, 1.2)
CAST = 0.03
"""The standard deviation of the gain of each colour channel."""
NOISE = (1.0, 5.0)
QUALITY = (40, 90)
SHARP, SOFT, SHARP_SHARE = (0.35, 0.55), (0.55, 0.95), 0.8
"""The ranges of the blur's standard deviation in sharp and soft images, in pixels at 256 pixels of height."""
VIGNETTES, COMPRESSED = 0.4, 0.4
"""The shares of photographs with a vignette, and with JPEG compression."""


def develop(stage: Stage) -> Bytes:
    """Return the photograph (H, W, 3) uint8 of a finished canvas."""
    rng = stage.rng
    image: Bytes = cv2.cvtColor(stage.canvas.pixels, cv2.COLOR_RGBA2RGB)
    if stage.light.wet > 0:
        image = _mirror(stage, image)
    if stage.light.falling:
        image = cv2.addWeighted(image, 1.0, _falling(stage), 0.35, 0)
    for glow in stage.canvas.glows:
        _add_halo(image, glow)
    image = cv2.LUT(image, _curves(stage, image))
    softness = rng.uniform(*(SHARP if rng.random() < SHARP_SHARE else SOFT))
    image = cv2.GaussianBlur(image, (0, 0), softness * max(0.6, min(stage.canvas.size) / 256))
    image = _expose(rng, image)
    if rng.random() < COMPRESSED:
        quality = rng.randrange(*QUALITY)
        _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return image


def _curves(stage: Stage, image: Bytes) -> Bytes:
    """Draw random exposure, gamma and colour cast, and return them as a lookup table (1, 256, 3)."""
    rng = stage.rng
    wanted = rng.uniform(*(NIGHT_LEVEL if stage.light.dark > 0 else LEVEL))
    gain = min(max(wanted / max(sum(cv2.mean(image)[:3]) / 3, 1.0), GAIN[0]), GAIN[1])
    casts = gain * (1 + CAST * np.array([rng.gauss(0, 1) for _ in range(3)]))
    lift, gamma = rng.uniform(0, 0.06), rng.uniform(*GAMMA)
    curve = lift + (1 - lift) * np.clip(np.linspace(0, 1, 256)[:, None] * casts, 0, 1) ** gamma
    return np.asarray((255 * curve).astype(np.uint8)[None])


def _expose(rng: Random, image: Bytes) -> Bytes:
    """Darken the corners and add the sensor's noise."""
    height, width = image.shape[:2]
    noise = grain()
    if height + TILE > noise.shape[0] or width + TILE > noise.shape[1]:
        noise = np.tile(noise, (-(-(height + TILE) // noise.shape[0]), -(-(width + TILE) // noise.shape[1]), 1))
    top, left = rng.randrange(TILE), rng.randrange(TILE)
    strength = NOISE[0] * (NOISE[1] / NOISE[0]) ** rng.random()
    exposed = image.astype(np.float32)
    if rng.random() < VIGNETTES:
        down, across = (np.linspace(-1, 1, length, dtype=np.float32) ** 2 for length in (height, width))
        kept = 1 - np.float32(rng.uniform(0.05, 0.2)) * (down[:, None] + across[None])
        exposed = cv2.multiply(exposed, cv2.merge([kept] * 3))
    exposed = cv2.scaleAdd(noise[top : top + height, left : left + width], strength, exposed)
    return np.asarray(np.clip(exposed, 0, 255).astype(np.uint8))


def _mirror(stage: Stage, image: Bytes) -> Bytes:
    """Mirror the image above the horizon in the wet ground, in puddles more than elsewhere."""
    height, width = stage.canvas.size
    horizon = int(min(max(stage.camera.horizon, 1), height - 1))
    source = np.clip(2 * horizon - np.arange(horizon, height), 0, horizon)
    mirrored = cv2.blur(image[source], (3, max(3, height // 24))).astype(np.float32)
    ids = stage.canvas.pixels[horizon:, :, 3]
    puddles = cv2.resize(texture("clouds")[:, : TILE // 3], (width, 2 * height))[: height - horizon].astype(np.float32)
    wet = np.clip(puddles * np.float32(1.3 / 255) - np.float32(0.25), 0.12, 0.6) * np.float32(stage.light.wet)
    share = np.where((ids == ROAD) | (ids == PAVEMENT), wet, np.float32(0))
    below = image[horizon:].astype(np.float32)
    mixed = below + (mirrored - below) * share[..., None]
    return np.concatenate([image[:horizon], mixed.astype(np.uint8)])


def _falling(stage: Stage) -> Bytes:
    """Return an image of the rain or snow in the air, (H, W, 3) uint8."""
    height, width = stage.canvas.size
    top, left = stage.rng.randrange(TILE // 2), stage.rng.randrange(TILE // 2)
    drops = texture(stage.light.falling)[top : top + TILE // 2, left : left + TILE // 2]
    return np.asarray(cv2.cvtColor(cv2.resize(drops, (width, height)), cv2.COLOR_GRAY2RGB))


def _add_halo(image: Bytes, glow: Glow) -> None:
    """Add a halo to the image, in place."""
    column, row, radius, colour = glow
    height, width = image.shape[:2]
    radius = min(max(radius, 2.0), max(height, width) / 3)
    left, right = (int(min(max(column + side * radius, 0), width)) for side in (-1, 1))
    top, bottom = (int(min(max(row + side * radius, 0), height)) for side in (-1, 1))
    if left >= right or top >= bottom:
        return
    across = (np.arange(left, right, dtype=np.float32) - np.float32(column)) ** 2
    down = (np.arange(top, bottom, dtype=np.float32) - np.float32(row)) ** 2
    strength = np.maximum(1 - np.sqrt(down[:, None] + across[None]) / np.float32(radius), 0) ** 2
    light = (strength[..., None] * np.array(colour, np.float32)).astype(np.uint8)
    image[top:bottom, left:right] = cv2.add(image[top:bottom, left:right], light)
