"""An image to predict: held in memory, or read by windows if its file allows that."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from coatseg.data.images.decoding import is_deep, orientation, plain_mode
from coatseg.data.images.normalization import with_channels
from coatseg.data.images.numpy_files import NUMPY
from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_image, stem_of
from coatseg.data.images.size_limit import MAX_PIXELS, any_pixels, checked_size
from coatseg.data.images.slides import FULL, Scale, is_slide
from coatseg.data.images.sources import whole_image
from coatseg.data.images.statements.nodata import NoData, check_finite
from coatseg.data.images.stored_images import stored_image
from coatseg.data.images.tiff.header import check_length
from coatseg.errors import ImageError
from coatseg.structures import Pixels, Size

ImageLike = str | os.PathLike[str] | Pixels | Image.Image
"""A file, an array (H, W) or (H, W, C) of uint8, uint16 or float32, or an image of Pillow.

Of these, an array does not say whether a second or fourth channel is alpha, so that none is dropped.
"""


@dataclass(frozen=True)
class OpenedImage:
    """An image of `size`: its `pixels` (H, W, C), or if they are None a file that is read by windows, at a scale.

    With `nodata`, pixels that hold `held` hold no data, and are read as the mean.
    """

    id: str
    size: Size
    channels: int
    pixels: Pixels | None = None
    path: Path | None = None
    bands: tuple[int, ...] | None = None
    nodata: NoData | None = None
    held: float = math.nan
    scale: Scale = FULL

    def read(self, window: Window | None = None) -> Pixels:
        """Return a window of the image, or all of it: (h, w, C).

        Raises:
            ImageError: the file is damaged, or some of its pixels are not finite.
        """
        pixels = self._read(window)
        if self.nodata is not None:
            pixels, _ = self.nodata.filled(pixels, self.held)
        check_finite(self.path or f"Image {self.id}", pixels)
        return pixels

    def nowhere(self, window: Window | None = None) -> npt.NDArray[np.bool_] | None:
        """Return where a window of the image, or all of it, holds no data: (h, w), None if everywhere it holds some."""
        return None if self.nodata is None else self.nodata.filled(self._read(window), self.held)[1]

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
    nodata: NoData | None = None,
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
        held = math.nan if nodata is None else nodata.held(path)
        if windows and has_windows(path, channels, bands, scale):
            if not is_slide(path, scale):
                check_length(path)
            return OpenedImage(name, size, channels, None, path, chosen, nodata, held, scale)
        pixels = whole_image(path, channels, bands, scale)
        return OpenedImage(name, size, channels, pixels, nodata=nodata, held=held)


def has_windows(
    path: Path, channels: int | None = None, bands: Sequence[int] | None = None, scale: Scale = FULL
) -> bool:
    """Return whether windows of a file can be read alone, and in blocks that are small enough for that."""
    stored = stored_image(path, channels, bands, scale)
    by_itself = is_slide(path, scale) or path.suffix.lower() == NUMPY
    if not stored.by_windows or not (by_itself or importlib.util.find_spec("rasterio")):
        return False
    return stored.has_small_blocks()


def open_given(
    given: ImageLike,
    place: int,
    channels: int,
    bands: Sequence[int] | None,
    *,
    max_pixels: int,
    windows: bool,
    nodata: NoData | None = None,
    scale: Scale = FULL,
) -> OpenedImage:
    """Open an image that a caller passes; without a file name it is named by its `place` in the caller's list.

    Raises:
        ImageError: it is no image, or cannot be read.
    """
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        name = stem_of(Path(path.name))
        return open_path(
            name, path, channels, bands, max_pixels=max_pixels, windows=windows, nodata=nodata, scale=scale
        )
    alpha = isinstance(given, Image.Image) and plain_mode(given) in ("LA", "RGBA")
    pixels = _pixels_of(given, place) if isinstance(given, Image.Image) else given
    if not isinstance(pixels, np.ndarray) or pixels.ndim not in (2, 3) or not pixels.size:
        found = f"shape {pixels.shape}" if isinstance(pixels, np.ndarray) else type(given).__name__
        raise ImageError(
            f"Image {place} is no image but {found}.",
            "Give a path, an array (height, width, channels) of uint8, uint16 or float32, or an image of Pillow.",
        )
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)  # a file may have another byte order
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    pixels = with_channels(f"Image {place}", pixels, channels, alpha=alpha)
    size, held = (pixels.shape[0], pixels.shape[1]), math.nan if nodata is None else nodata.held(None)
    return OpenedImage(str(place), size, channels, np.ascontiguousarray(pixels), nodata=nodata, held=held)


def _pixels_of(image: Image.Image, place: int) -> Pixels:
    deep = image.mode.startswith("I;16")
    if is_deep(image) and not (deep or image.mode in ("I", "F")):
        raise ImageError(f"Image {place} has 16 bit a channel, of which Pillow keeps 8.", "Give the path of its file.")
    upright = image if orientation(image) == 1 else ImageOps.exif_transpose(image)
    return np.asarray(upright) if deep else np.asarray(upright.convert(plain_mode(upright)))
