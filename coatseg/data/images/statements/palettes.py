"""Read the palette of a file of numbers, which gives each of them a colour."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.images.decoding import open_image
from coatseg.structures import Colour


def read_palette(path: Path) -> tuple[Colour, ...]:
    """Return the colours of the numbers from 0 on; empty if the file has no palette, or cannot be opened."""
    with path.open("rb") as file:
        opened = open_image(path, file)
        flat = (opened.getpalette("RGB") if opened is not None and opened.mode == "P" else None) or []
    return tuple(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
