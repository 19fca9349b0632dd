"""What the heads that classify masks ask of their width."""

from __future__ import annotations

from coatseg.errors import ConfigError

HEADS = 8
"""How many heads attention has."""


def check_width(width: int) -> None:
    """Raise ConfigError if so many channels cannot be shared by the heads, and by two halves of a position."""
    if width % (2 * HEADS):
        raise ConfigError(f"head.width={width} is no multiple of {2 * HEADS}.", f"Attention has {HEADS} heads.")
