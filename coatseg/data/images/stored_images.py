"""The formats of image files: what each states before it is decoded, and how all of it or a window of it is read.

Pillow and OpenCV decode what they read correctly; rasterio reads all other TIFF, windows of TIFF, and JPEG 2000; numpy
its own files; tifffile the levels of slides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from coatseg.data.images.decoding import (
    ON_THEIR_SIDE,
    decode_image,
    open_image,
    orientation,
    plain_mode,
    unsupported,
    upright,
)
from coatseg.data.images.normalization import PIXEL_RANGE
from coatseg.data.images.numpy_files import NUMPY, open_array
from coatseg.data.images.raster import (
    JPEG_2000,
    Window,
    check_bands,
    has_small_blocks,
    opened_raster,
    read_bands,
    read_raster,
)
from coatseg.data.images.slides import FULL, Scale, is_slide, open_slide, read_slide, read_slide_size
from coatseg.data.images.statements.sample_values import full_range
from coatseg.data.images.tiff.header import WHITE_IS_ZERO, TiffHeader, read_header
from coatseg.data.images.tiff.libraries import check_colours, is_plain_tiff
from coatseg.data.images.tiff.pages import channel_pages
from coatseg.structures import Pixels, Size


class StoredImage(Protocol):
    """An image file that is known to be there and of one image."""

    @property
    def alpha(self) -> bool:
        """Whether its last channel is stated to be alpha, where there are two or four."""

    @property
    def by_windows(self) -> bool:
        """Whether a window is read without the rest."""

    def facts(self) -> tuple[Size, int]:
        """Return the upright (height, width) and the number of channels, from the header where it has them."""

    def has_small_blocks(self) -> bool:
        """Return whether what is decoded for a window is not much larger than a window, if it is read `by_windows`."""

    def read(self, bands: Sequence[int] | None, window: Window | None) -> Pixels:
        """Read the image, or a window of it, upright: (H, W, C) uint8, uint16 or float32 on the scale of its type."""


def stored_image(
    path: Path, channels: int | None = None, bands: Sequence[int] | None = None, scale: Scale = FULL
) -> StoredImage:
    """Return an image file by its format; `channels`, `bands` and `scale` are what is wanted of it.

    Raises:
        ImageError: there is no such file; its header is damaged, of another pixel type than images have, or of several
            pages that are not the channels.
    """
    if is_slide(path, scale):
        return SlideImage(path, scale)
    by_suffix = _BY_SUFFIX.get(path.suffix.lower())
    if by_suffix is not None:
        return by_suffix(path)
    header = read_header(path)
    if header is None:
        return PlainImage(path)
    if not header.is_image:
        raise unsupported(path, header.dtype)
    return TiffImage(path, header, channel_pages(path, header, channels, bands))


@dataclass(frozen=True)
class PlainImage:
    """An image that Pillow or OpenCV decodes whole: JPEG, PNG, WebP, BMP."""

    path: Path
    alpha = True  # a second or fourth channel of these formats can be nothing else
    by_windows = False

    def facts(self) -> tuple[Size, int]:
        """Return the size and the channels that Pillow reads from the header."""
        return size_and_channels(self.path)

    def has_small_blocks(self) -> bool:
        """Return False: there are no blocks."""
        return False

    def read(self, bands: Sequence[int] | None, window: Window | None) -> Pixels:
        """Decode the image and cut the window."""
        pixels = with_bands(self.path, decode_image(self.path), bands)
        return pixels if window is None else window.cut(pixels)


@dataclass(frozen=True)
class TiffImage:
    """A TIFF; `pages` are the directories of its channels if they are pages, else there is one page."""

    path: Path
    header: TiffHeader
    pages: tuple[int, ...] = ()

    @cached_property
    def plain(self) -> bool:
        """Whether Pillow or OpenCV reads it correctly."""
        return not self.pages and is_plain_tiff(self.path, self.header)

    @property
    def alpha(self) -> bool:
        """Whether the last channel says that it is alpha."""
        return self.header.alpha

    @property
    def by_windows(self) -> bool:
        """Whether it is upright and not in colours that are converted as a whole."""
        return self.header.orientation == 1 and (self.header.is_as_stored or not self.plain)

    def facts(self) -> tuple[Size, int]:
        """Return the size and the channels that are read: a palette is three."""
        # Pillow does not count all channels of files with more than 8 bit.
        if self.plain and self.header.bits < 16:
            return size_and_channels(self.path)
        if not self.plain:
            check_colours(self.path, self.header)
        return self.header.upright_size, len(self.pages) or self.header.channels

    def has_small_blocks(self) -> bool:
        """Return whether its tiles or strips are small."""
        return has_small_blocks(self.path)

    def read(self, bands: Sequence[int] | None, window: Window | None) -> Pixels:
        """Read it by the library that reads it correctly."""
        header = self.header
        alone = window is not None and self.by_windows
        if alone or not self.plain:
            check_colours(self.path, header)
            pixels = upright(read_raster(self.path, bands, window if alone else None, self.pages), header.orientation)
            white_is_zero = header.photometric == WHITE_IS_ZERO
            pixels = full_range(self.path, pixels, header.top, white_is_zero=white_is_zero)
        else:
            pixels = with_bands(self.path, decode_image(self.path), bands)
            if header.bits > 8:  # Pillow scales fewer bits itself
                pixels = full_range(self.path, pixels, header.top)
        return pixels if alone or window is None else window.cut(pixels)


@dataclass(frozen=True)
class Jpeg2000Image:
    """A JPEG 2000 file, read by rasterio."""

    path: Path
    by_windows = True

    @cached_property
    def alpha(self) -> bool:
        """Whether the last channel says that it is alpha."""
        with opened_raster(self.path) as raster:
            return str(raster.colorinterp[-1].name) == "alpha"

    def facts(self) -> tuple[Size, int]:
        """Return the size and the channels."""
        with opened_raster(self.path) as raster:
            if np.dtype(raster.dtypes[0]) not in PIXEL_RANGE:
                raise unsupported(self.path, raster.dtypes[0])
            return (raster.height, raster.width), raster.count

    def has_small_blocks(self) -> bool:
        """Return whether its tiles are small."""
        return has_small_blocks(self.path)

    def read(self, bands: Sequence[int] | None, window: Window | None) -> Pixels:
        """Read it, scaled from the bits that it states."""
        with opened_raster(self.path) as raster:
            pixels = read_bands(self.path, raster, bands, window)
            bits = raster.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8 * pixels.itemsize)
        return full_range(self.path, pixels, 2 ** int(bits) - 1)


@dataclass(frozen=True)
class NumpyImage:
    """An array of numpy, (H, W) or (H, W, C), in a file that is mapped into memory."""

    path: Path
    alpha = False
    by_windows = True

    @cached_property
    def _array(self) -> Pixels:
        array = open_array(self.path)
        if array.dtype.newbyteorder("=") not in PIXEL_RANGE:
            raise unsupported(self.path, array.dtype)
        return array if array.ndim == 3 else array[..., None]

    def facts(self) -> tuple[Size, int]:
        """Return the size and the channels."""
        height, width, channels = self._array.shape
        return (height, width), channels

    def has_small_blocks(self) -> bool:
        """Return True: only what is wanted is read."""
        return True

    def read(self, bands: Sequence[int] | None, window: Window | None) -> Pixels:
        """Copy the image, or a window of it, into memory."""
        pixels = self._array if window is None else window.cut(self._array)
        return np.array(with_bands(self.path, pixels, bands), dtype=pixels.dtype.newbyteorder("="), order="C")


@dataclass(frozen=True)
class SlideImage:
    """A level of a slide or another pyramid, in tiles."""

    path: Path
    scale: Scale
    by_windows = True

    @property
    def alpha(self) -> bool:
        """Whether the last channel says that it is alpha."""
        return open_slide(self.path).alpha

    def facts(self) -> tuple[Size, int]:
        """Return the size of the level and the channels."""
        return read_slide_size(self.path, self.scale)

    def has_small_blocks(self) -> bool:
        """Return True: only the tiles below a window are decoded."""
        return True

    def read(self, bands: Sequence[int] | None, window: Window | None) -> Pixels:
        """Read the level, or a window of it, scaled from the depth that it states."""
        pixels = with_bands(self.path, read_slide(self.path, self.scale, window), bands)
        return full_range(self.path, pixels, open_slide(self.path).top)


_BY_SUFFIX: dict[str, Callable[[Path], StoredImage]] = {NUMPY: NumpyImage, JPEG_2000: Jpeg2000Image}


def size_and_channels(path: Path) -> tuple[Size, int]:
    """Read the upright size and the number of plain channels of an image by Pillow, from its header if that tells."""
    with path.open("rb") as file:
        opened = open_image(path, file)
        if opened is None:  # only decoding tells the size
            height, width, stored = decode_image(path).shape
            return (height, width), stored
        width, height = opened.size
        size = (width, height) if orientation(opened) in ON_THEIR_SIDE else (height, width)
        return size, Image.getmodebands(plain_mode(opened))


def with_bands(path: Path, pixels: Pixels, bands: Sequence[int] | None) -> Pixels:
    """Return those bands (H, W, len(bands)) of an image, counted from 1; None keeps all.

    Raises:
        ImageError: the image lacks a band.
    """
    check_bands(path, pixels.shape[2], bands)
    return pixels if bands is None else pixels[..., [band - 1 for band in bands]]
