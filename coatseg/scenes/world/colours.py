"""Colours, as red, green and blue from 0 to 255: scaled, mixed, and drawn at random from tables."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

Colour = tuple[float, float, float]


def scaled(colour: Colour, factor: float) -> Colour:
    """Multiply every channel of a colour by a factor."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours, with `share` of the second."""
    a, b, c = ((1 - share) * x + share * y for x, y in zip(first, second, strict=True))
    return a, b, c


def varied(rng: Random, table: Sequence[Colour], gain: tuple[float, float], jitter: float) -> Colour:
    """Draw a random colour from a table, times a factor in the range `gain`, plus up to `jitter` per channel."""
    base, factor = table[int(rng.random() * len(table))], rng.uniform(*gain)
    a, b, c = (max(0.0, channel * factor + jitter * (2 * rng.random() - 1)) for channel in base)
    return a, b, c


def grey(level: float) -> Colour:
    """Return the grey of a level from 0 to 255."""
    return level, level, level
