"""Colours, red, green and blue of 0 to 255, and how they are drawn from a table and varied."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

Colour = tuple[float, float, float]


def scaled(colour: Colour, factor: float) -> Colour:
    """Multiply every channel."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Blend two colours: `share` of the second."""
    a, b, c = ((1 - share) * x + share * y for x, y in zip(first, second, strict=True))
    return a, b, c


def varied(rng: Random, table: Sequence[Colour], gain: tuple[float, float], jitter: float) -> Colour:
    """Draw a colour of a table, brighten it by a factor in the range `gain`, add up to `jitter` to channels."""
    base, factor = table[int(rng.random() * len(table))], rng.uniform(*gain)
    a, b, c = (max(0.0, channel * factor + jitter * (2 * rng.random() - 1)) for channel in base)
    return a, b, c


def grey(level: float) -> Colour:
    """Give a grey."""
    return level, level, level
