"""Tileable grey textures of surfaces, generated once per process from a constant seed.

Each is (TILE, TILE) uint8 around 128, which leaves a colour unchanged; rain and snow are on black.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Bytes = npt.NDArray[np.uint8]

TILE = 256
NEUTRAL = 128
_SEED = 20210413


def bank_rng(name: str) -> np.random.Generator:
    """Return the random generator of a bank that all scenes share; it depends only on the bank's name."""
    return np.random.default_rng([_SEED, *name.encode()])


def _to_grey(values: Floats, contrast: float) -> Bytes:
    """Centre `values` on NEUTRAL with a standard deviation of `contrast` grey levels."""
    centred = (values - values.mean()) / values.std()
    return np.asarray(np.clip(NEUTRAL + contrast * centred, 0, 255), np.uint8)


def _spectral(rng: np.random.Generator, power: float) -> Floats:
    """Generate tileable noise whose amplitude falls with frequency**power: 0 is white, 2 is cloud-like."""
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.fftfreq(TILE)[None])
    frequency[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.standard_normal((TILE, TILE))) / frequency**power
    spectrum[0, 0] = 0.0
    return np.real(np.fft.ifft2(spectrum))


def _blocks(rng: np.random.Generator, height: int, width: int, joint: int, bond: float) -> Floats:
    """Generate blocks of (height, width) pixels in courses, each shifted by `bond` of a block, with dark joints."""
    rows, columns = np.mgrid[0:TILE, 0:TILE]
    course = rows // height
    along = (columns + (course * int(bond * width))) % TILE
    tone = rng.normal(0, 1, (TILE // height, TILE // width))[course, along // width]
    joints = (rows % height < joint) | (along % width < joint)
    return np.where(joints, -2.2, tone) + 0.4 * rng.standard_normal((TILE, TILE))


def _cobbles(rng: np.random.Generator) -> Floats:
    """Generate rounded stones from the distance to the nearest of many jittered points, wrapped at the edges."""
    step = 16
    grid = np.stack(np.meshgrid(*[np.arange(0, TILE, step)] * 2), -1).reshape(-1, 2) + step / 2
    points = grid + rng.uniform(-5, 5, grid.shape)
    wrapped = np.concatenate([points + np.array((dx, dy)) for dx in (-TILE, 0, TILE) for dy in (-TILE, 0, TILE)])
    inside = wrapped[((wrapped > -step) & (wrapped < TILE + step)).all(axis=1)].round().astype(int) + step
    seeds = np.full((TILE + 2 * step, TILE + 2 * step), 255, np.uint8)
    seeds[inside[:, 1], inside[:, 0]] = 0
    distance, index = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    tone = rng.normal(0, 1.0, int(index.max()) + 1)[index]
    stones: Floats = (tone - (distance / 5.0) ** 2)[step:-step, step:-step]
    return stones


def _specks(rng: np.random.Generator, share: float) -> Bytes:
    """Generate bright pixels, a `share` of all, scattered on black."""
    return np.where(rng.random((TILE, TILE)) < share, np.uint8(80), np.uint8(0))


@cache
def texture(name: str) -> Bytes:
    """Return the texture of a name, such as "asphalt" or "clouds", (TILE, TILE) uint8."""
    rng = bank_rng(name)
    makers: dict[str, Callable[[], Bytes]] = {
        "asphalt": lambda: _to_grey(_spectral(rng, 0.3) + 1.2 * _spectral(rng, 1.3), 16),
        "plaster": lambda: _to_grey(_spectral(rng, 1.2), 7),
        "concrete": lambda: _to_grey(_spectral(rng, 0.8) + 0.6 * _blocks(rng, 64, 128, 2, 0.0), 12),
        "bricks": lambda: _to_grey(_blocks(rng, 8, 16, 2, 0.5), 22),
        "slabs": lambda: _to_grey(_blocks(rng, 32, 32, 2, 0.0), 15),
        "long_slabs": lambda: _to_grey(_blocks(rng, 32, 64, 2, 0.5), 15),
        "pavers": lambda: _to_grey(_blocks(rng, 16, 32, 2, 0.5), 20),
        "cobbles": lambda: _to_grey(_cobbles(rng), 24),
        "clouds": lambda: _to_grey(_spectral(rng, 1.7), 48),
        "rain": lambda: cv2.blur(_specks(rng, 0.006), (1, 13)) * 3,
        "flakes": lambda: cv2.blur(_specks(rng, 0.008), (2, 2)) * 3,
        "leaves": lambda: _to_grey(cv2.GaussianBlur(_spectral(rng, 0.6), (0, 0), 1.2), 42),
    }
    return makers[name]()


@cache
def grain() -> npt.NDArray[np.float32]:
    """Return white noise of unit deviation, (2 TILE, 2 TILE, 3) float32, of which random crops are sensor noise."""
    return bank_rng("grain").standard_normal((2 * TILE, 2 * TILE, 3)).astype(np.float32)
