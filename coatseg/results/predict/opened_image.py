"""An image to predict: held in memory, or read by windows if its file allows that."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from coatseg.data.images.decoding import is_deep, orientation, plain_mode
from coatseg.data.images.normalization import with_channels
from coatseg.data.images.raster import Window, opened_raster
from coatseg.data.images.reading import read_image
from coatseg.data.images.size_limit import MAX_PIXELS, any_pixels, checked_size
from coatseg.data.images.slides import FULL, Scale, is_slide
from coatseg.data.images.sources import whole_image
from coatseg.data.images.tiff import check_length, read_header
from coatseg.errors import ImageError
from coatseg.structures import Pixels, Size

LARGEST_BLOCK = 2**26
"""The most bytes of a TIFF's tile or strip: with larger ones, reading a window costs too much of what surrounds it."""

ImageLike = str | os.PathLike[str] | Pixels | Image.Image
"""A file, an array (H, W) or (H, W, C) of uint8, uint16 or float32, or an image of Pillow."""


@dataclass(frozen=True)
class OpenedImage:
    """An image of `size`: its `pixels` (H, W, C), or if they are None a file that is read by windows, at a scale."""

    id: str
    size: Size
    channels: int
    pixels: Pixels | None = None
    path: Path | None = None
    bands: tuple[int, ...] | None = None
    scale: Scale = FULL

    def read(self, window: Window | None = None) -> Pixels:
        """Return a window of the image, or all of it: (h, w, C).

        Raises:
            ImageError: the file is damaged, or some of its pixels are not finite.
        """
        pixels = self._read(window)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise ImageError(
                f"{self.path or f'Image {self.id}'} has pixels that are no numbers.",
                "Give them a value, such as the mean.",
            )
        return pixels

    def _read(self, window: Window | None) -> Pixels:
        if self.pixels is not None:
            return self.pixels if window is None else window.cut(self.pixels)
        assert self.path is not None
        with any_pixels():
            return read_image(self.path, self.channels, self.bands, window, self.scale)


def open_path(
    name: str,
    path: Path,
    channels: int,
    bands: Sequence[int] | None = None,
    *,
    max_pixels: int = MAX_PIXELS,
    windows: bool = False,
    scale: Scale = FULL,
) -> OpenedImage:
    """Open an image file; with `windows`, windows of it are read later, if its format has them.

    `scale` chooses a level of a slide or pyramid.

    Raises:
        ImageError: it is unreadable, empty, cut short, of more than `max_pixels`, or of other channels or pixel types.
    """
    with any_pixels():
        size = checked_size(path, channels, bands, max_pixels, scale)
        chosen = None if bands is None else tuple(bands)
        if windows and has_windows(path, scale):
            if not is_slide(path, scale):
                check_length(path)
            return OpenedImage(name, size, channels, None, path, chosen, scale)
        return OpenedImage(name, size, channels, whole_image(path, channels, bands, scale))


def has_windows(path: Path, scale: Scale = FULL) -> bool:
    """Return whether windows of a file can be read alone: of a slide, or an upright TIFF in small enough blocks."""
    if is_slide(path, scale):
        return True
    header = read_header(path)
    if header is None or not header.is_as_stored or importlib.util.find_spec("rasterio") is None:
        return False
    with opened_raster(path) as raster:
        height, width = raster.block_shapes[0]
        return bool(height * width * raster.count * np.dtype(raster.dtypes[0]).itemsize <= LARGEST_BLOCK)


def open_given(
    given: ImageLike,
    place: int,
    channels: int,
    bands: Sequence[int] | None,
    *,
    max_pixels: int,
    windows: bool,
    scale: Scale = FULL,
) -> OpenedImage:
    """Open an image that a caller passes; without a file name it is named by its `place` in the caller's list.

    Raises:
        ImageError: it is no image, or cannot be read.
    """
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        return open_path(path.stem, path, channels, bands, max_pixels=max_pixels, windows=windows, scale=scale)
    pixels = _pixels_of(given, place) if isinstance(given, Image.Image) else given
    if not isinstance(pixels, np.ndarray) or pixels.ndim not in (2, 3) or not pixels.size:
        found = f"shape {pixels.shape}" if isinstance(pixels, np.ndarray) else type(given).__name__
        raise ImageError(
            f"Image {place} is no image but {found}.",
            "Give a path, an array (height, width, channels) of uint8, uint16 or float32, or an image of Pillow.",
        )
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)  # a file may have another byte order
    pixels = with_channels(f"Image {place}", pixels if pixels.ndim == 3 else pixels[..., None], channels)
    return OpenedImage(str(place), (pixels.shape[0], pixels.shape[1]), channels, np.ascontiguousarray(pixels))


def _pixels_of(image: Image.Image, place: int) -> Pixels:
    deep = image.mode.startswith("I;16")
    if is_deep(image) and not (deep or image.mode in ("I", "F")):
        raise ImageError(f"Image {place} has 16 bit a channel, of which Pillow keeps 8.", "Give the path of its file.")
    upright = image if orientation(image) == 1 else ImageOps.exif_transpose(image)
    return np.asarray(upright) if deep else np.asarray(upright.convert(plain_mode(upright)))
