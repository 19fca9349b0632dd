"""Checks of the options that several augmentations have."""

from __future__ import annotations

from collections.abc import Sequence

from coatseg.errors import ConfigError
from coatseg.structures import Size


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Refuse a number out of a range."""
    if not low <= value <= high:
        raise ConfigError(f"{key}={value} is out of range.", f"Choose a number from {low} to {high}.")


def checked_size(key: str, size: Sequence[int]) -> Size:
    """Give a size of two positive integers."""
    lengths = tuple(size) if isinstance(size, Sequence) else ()
    if len(lengths) != 2 or not all(isinstance(length, int) and length > 0 for length in lengths):
        raise ConfigError(f"{key}={size} is not a size in pixels.", "Write two integers: [height, width].")
    return lengths


def checked_lengths(key: str, lengths: Sequence[int]) -> tuple[int, ...]:
    """Give some positive integers."""
    given = tuple(lengths) if isinstance(lengths, Sequence) else ()
    if not given or not all(isinstance(length, int) and length > 0 for length in given):
        raise ConfigError(f"{key}={lengths} is no list of lengths in pixels.", "Write integers: [480, 640, 800].")
    return given
