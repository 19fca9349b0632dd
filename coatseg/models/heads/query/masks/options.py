"""What the heads that classify masks ask of their width."""

from __future__ import annotations

from coatseg.errors import ConfigError

HEADS = 8
"""How many heads attention has."""
GROUPS = 32
"""How many groups the norms of the library's pixel decoders have."""


def check_width(width: int) -> None:
    """Raise ConfigError if so many channels cannot be shared by the groups of norms, or by the heads."""
    if width % GROUPS:
        nearest = max(GROUPS, round(width / GROUPS) * GROUPS)
        raise ConfigError(f"head.width={width} is no multiple of {GROUPS}.", f"Set head.width={nearest}.")
