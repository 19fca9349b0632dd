"""Checks of the options that several augmentations have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from coatseg.errors import ConfigError
from coatseg.registry.options import legal
from coatseg.structures import Size

SECTION = "data.augmentations"
"""Where the configuration has the options that these checks name."""
Lengths = Annotated[Sequence[int], legal("Write a list of lengths in pixels, such as [800] or [480,640,800]")]
PixelSize = Annotated[Sequence[int], legal("Write two integers: [height,width]")]


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError if a number is out of its range."""
    if not low <= value <= high:
        raise ConfigError(f"{SECTION}.{key}={value} is out of range.", f"Choose a number from {low} to {high}.")


def checked_size(key: str, size: Sequence[int]) -> Size:
    """Return a size of two positive integers.

    Raises:
        ConfigError: it is something else.
    """
    lengths = tuple(size) if isinstance(size, Sequence) else ()
    if len(lengths) != 2 or not all(isinstance(length, int) and length > 0 for length in lengths):
        raise ConfigError(f"{SECTION}.{key}={size} is not a size in pixels.", "Write two integers: [height, width].")
    return lengths


def checked_lengths(key: str, lengths: Sequence[int]) -> tuple[int, ...]:
    """Return positive integers, one or more.

    Raises:
        ConfigError: there are none, or something else is among them.
    """
    given = tuple(lengths) if isinstance(lengths, Sequence) else ()
    if not given or not all(isinstance(length, int) and length > 0 for length in given):
        raise ConfigError(
            f"{SECTION}.{key}={lengths} is no list of lengths in pixels.", "Write integers: [480, 640, 800]."
        )
    return given
