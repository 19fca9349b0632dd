"""A bank of tree crowns, stored as grey pictures and masks, so that each tree can have its own colour."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from coatseg.scenes.world.textures import NEUTRAL, Bytes, Floats, bank_rng, texture

SPRITE = 128
"""The side of a sprite in pixels."""


@dataclass(frozen=True)
class Sprite:
    """The grey picture of a crown and its mask, both (SPRITE, SPRITE) uint8."""

    grey: Bytes
    mask: Bytes

    def mirrored(self) -> Sprite:
        """Return the sprite with left and right swapped."""
        return Sprite(cv2.flip(self.grey, 1), cv2.flip(self.mask, 1))


@cache
def crowns() -> dict[str, tuple[Sprite, ...]]:
    """Return the bank of crowns by kind, each crown also mirrored."""
    rng = bank_rng("crowns")
    kinds: dict[str, tuple[int, Callable[[np.random.Generator], Sprite]]] = {
        "round": (16, _round),
        "conifer": (6, _conifer),
        "bare": (8, _bare),
    }
    bank = {kind: [make(rng) for _ in range(count)] for kind, (count, make) in kinds.items()}
    return {kind: (*made, *(sprite.mirrored() for sprite in made)) for kind, made in bank.items()}


def _leaves(rng: np.random.Generator) -> Floats:
    """Return a random crop of the leaf texture, (SPRITE, SPRITE) float32 around 0."""
    top, left = rng.integers(0, SPRITE, 2)
    return texture("leaves")[top : top + SPRITE, left : left + SPRITE].astype(np.float32) - NEUTRAL


def _foliage(rng: np.random.Generator, inside: Floats) -> Sprite:
    """Make a crown of leaves where `inside`, which is negative outside, is positive after fraying the edge."""
    rows = np.linspace(1, 0, SPRITE, dtype=np.float32)[:, None]
    leaves = _leaves(rng)
    clumps = cv2.GaussianBlur(_leaves(rng), (0, 0), 5) * 3.5
    mask = (inside + 0.0022 * leaves + 0.004 * clumps > 0).astype(np.uint8) * 255
    grey = 40 + 90 * rows + 0.75 * leaves + 0.8 * clumps + 40 * np.clip(1 - 2 * np.abs(inside), 0, 1)
    return Sprite(np.clip(grey, 0, 255).astype(np.uint8), mask)


def _grid() -> tuple[Floats, Floats]:
    """Return the coordinates x and y (SPRITE, SPRITE) from -1 to 1, with y upwards."""
    steps = np.linspace(-1, 1, SPRITE, dtype=np.float32)
    return np.broadcast_to(steps[None], (SPRITE, SPRITE)), np.broadcast_to(-steps[:, None], (SPRITE, SPRITE))


def _round(rng: np.random.Generator) -> Sprite:
    """Make a crown of several balls."""
    x, y = _grid()
    inside = np.full((SPRITE, SPRITE), -1.0, np.float32)
    for _ in range(int(rng.integers(3, 8))):
        angle, away = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.5)
        radius = rng.uniform(0.35, 0.6) * (1.15 - away)
        ball = radius - np.hypot(x - away * math.cos(angle), y - away * math.sin(angle))
        inside = np.maximum(inside, ball)
    return _foliage(rng, np.minimum(inside, np.float32(0.93) - np.hypot(x, y)))


def _conifer(rng: np.random.Generator) -> Sprite:
    """Make a pointed crown in tiers."""
    x, y = _grid()
    tiers = 0.12 * np.mod((1 - y) * rng.uniform(2.5, 4.5), 1)
    return _foliage(rng, (0.5 * (0.95 - y) * rng.uniform(0.7, 1.0) - np.abs(x) + tiers) * np.float32(0.7))


def _bare(rng: np.random.Generator) -> Sprite:
    """Make branches without leaves."""
    mask = np.zeros((SPRITE, SPRITE), np.uint8)
    stack = [(SPRITE / 2, SPRITE - 1.0, -math.pi / 2, SPRITE * 0.21, 9.0)]
    while stack:
        x, y, angle, length, width = stack.pop()
        end = (x + length * math.cos(angle), y + length * math.sin(angle))
        cv2.line(mask, (round(x), round(y)), (round(end[0]), round(end[1])), 255, max(2, round(width)))
        if length > 7:
            spread = rng.uniform(0.25, 0.6, 3) * [1, -1, rng.choice([-0.3, 0.3])]
            stack += [(*end, angle + turn, length * rng.uniform(0.62, 0.85), width * 0.68) for turn in spread]
    return Sprite(np.clip(_leaves(rng) * 0.6 + 120, 0, 255).astype(np.uint8), mask)
