"""Which level of a whole-slide image, or of another pyramid, is the image: by its number, or by its microns a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coatseg.data.images.decoding import unsupported
from coatseg.data.images.normalization import PIXEL_RANGE
from coatseg.data.images.raster import Window
from coatseg.data.images.tiff.pyramid import MEND, Pyramid, open_pyramid
from coatseg.errors import ConfigError, ImageError
from coatseg.structures import Pixels, Size

SLIDE_SUFFIXES = frozenset({".svs", ".ndpi"})
"""The files that are always read as pyramids."""
TOLERANCE = 0.05
"""The share by which the microns of a level may differ from those that are asked for."""


@dataclass(frozen=True)
class Scale:
    """The level of a pyramid that is an image: its number, 0 for full resolution, or its `microns` a pixel."""

    level: int = 0
    microns: float | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for, by the names of the options; nothing where that is full resolution."""
        return {} if self == FULL else {"level": self.level} if self.microns is None else {"microns": self.microns}


FULL = Scale()


def scale_of(level: int | None, microns: float | None) -> Scale:
    """Return the scale that two options state, full resolution if none does.

    Raises:
        ConfigError: both are given.
    """
    if level is not None and microns is not None:
        raise ConfigError(f"level={level} and microns={microns} both choose a level.", "Leave one of them out.")
    return Scale(level or 0, microns)


def is_slide(path: Path, scale: Scale) -> bool:
    """Return whether a file is read as a pyramid: by its suffix, or since another level than its first is asked for."""
    return path.suffix.lower() in SLIDE_SUFFIXES or scale != FULL


def read_slide_size(path: Path, scale: Scale) -> tuple[Size, int]:
    """Return the (height, width) of a slide at a scale, and its channels.

    Raises:
        ImageError: as `read_slide`.
    """
    pyramid = open_slide(path)
    return pyramid.sizes[level_of(pyramid, scale)], pyramid.channels


def read_slide(path: Path, scale: Scale, window: Window | None = None) -> Pixels:
    """Read a level of a slide, or a window of it in the level's pixels: (H, W, C) uint8, uint16 or float32.

    Numbers are as stored, whichever depth is stated.

    Raises:
        ImageError: tifffile is not installed; it is no pyramid, is damaged, holds other pixels, or lacks the level.
    """
    pyramid = open_slide(path)
    return pyramid.read(level_of(pyramid, scale), window)


def open_slide(path: Path) -> Pyramid:
    """Open a slide or another pyramid of images.

    Raises:
        ImageError: tifffile is not installed; it is no pyramid, or holds other pixels.
    """
    pyramid = open_pyramid(path)
    if not pyramid.is_image:
        raise ImageError(f"{path} has levels that are not read: {pyramid.kind}.", MEND)
    if pyramid.dtype not in PIXEL_RANGE:
        raise unsupported(path, pyramid.dtype)
    return pyramid


def level_of(pyramid: Pyramid, scale: Scale) -> int:
    """Return the number of the level that a scale asks for.

    Raises:
        ImageError: there is none; those that are there are named.
    """
    levels = range(len(pyramid.sizes))
    if scale.microns is None:
        if scale.level not in levels:
            raise ImageError(f"{pyramid.path} has no level {scale.level}, but {pyramid.words}.", "Choose another.")
        return scale.level
    if not any(pyramid.microns):
        raise ImageError(
            f"{pyramid.path} does not state its microns a pixel; it has {pyramid.words}.", "Choose a level by number."
        )
    differences = [abs(microns / scale.microns - 1) for microns in pyramid.microns]
    nearest = min(levels, key=differences.__getitem__)
    if differences[nearest] > TOLERANCE:
        raise ImageError(
            f"{pyramid.path} has no level of {scale.microns:g} microns a pixel, but {pyramid.words}.",
            "Choose the microns of a level, to 5 percent.",
        )
    return nearest
