"""Image and label files to arrays, and their sizes from their headers: nothing half read, nothing guessed.

Pillow and OpenCV decode what they read correctly; rasterio reads all other TIFF files, and windows of TIFF files.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coatseg.data.images.decoding import (
    LABEL_MODES,
    ON_THEIR_SIDE,
    content_of,
    decode,
    decode_image,
    open_image,
    orientation,
    plain_mode,
    unsupported,
    upright,
)
from coatseg.data.images.normalization import check_channels, with_channels
from coatseg.data.images.raster import Window, check_bands, read_band, read_raster
from coatseg.data.images.slides import FULL, SLIDE_SUFFIXES, Scale, is_slide, read_slide, read_slide_size
from coatseg.data.images.tiff import JPEG, TiffHeader, is_plain_map, is_plain_tiff, read_header
from coatseg.errors import DatasetError
from coatseg.structures import Colour, Pixels, Size

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"}) | SLIDE_SUFFIXES

_LABELS_FORMAT = (
    "Save class numbers as an 8- or 16-bit single-channel PNG or TIFF; an own dataset may use colours instead: "
    "give each class its colour in classes.txt and set data.colour_masks=true."
)


def read_image(
    path: Path,
    channels: int | None = None,
    bands: Sequence[int] | None = None,
    window: Window | None = None,
    scale: Scale = FULL,
) -> Pixels:
    """Read an image, upright by its EXIF orientation.

    Returns (H, W, C) uint8, uint16 or float32, in the bit depth of the file. C is `channels`, with grey repeated to RGB
    and a fourth channel dropped, or what the file has. `bands` selects channels, counted from 1, before that. A
    `window` of a TIFF is read by itself; other files, and a TIFF that is rotated or in other colours than RGB, are
    decoded whole and then cut. `scale` chooses a level of a slide or pyramid, in whose pixels the window is.

    Raises:
        ImageError: there is no such file; it is damaged or cut short, has other pixel types, channels or bands, or is
            not a TIFF and has more pixels than Pillow allows; or rasterio is needed and not installed.
    """
    if is_slide(path, scale):
        pixels = with_bands(path, read_slide(path, scale, window), bands)
        return np.require(with_channels(path, pixels, channels), requirements=["C", "W"])
    header = read_header(path)
    plain = header is None or _is_plain(path, header, channels, bands)
    alone = window is not None and header is not None and (header.is_as_stored or not plain) and header.orientation == 1
    if header is not None and (alone or not plain):
        pixels = upright(read_raster(path, bands, window if alone else None), header.orientation)
    else:
        pixels = with_bands(path, decode_image(path), bands)
    if window is not None and not alone:
        pixels = window.cut(pixels)
    # Pillow's arrays are read-only, and neither OpenCV nor torch takes reversed strides.
    return np.require(with_channels(path, pixels, channels), requirements=["C", "W"])


def read_size(path: Path, channels: int | None = None, bands: Sequence[int] | None = None, scale: Scale = FULL) -> Size:
    """Read the upright (height, width) from an image's header, without decoding it.

    Raises:
        ImageError: as `read_image` would, as far as the header tells.
    """
    header = None if is_slide(path, scale) else read_header(path)
    if is_slide(path, scale):
        size, stored = read_slide_size(path, scale)
    # Pillow does not count all channels of files with more than 8 bit.
    elif header is not None and (not _is_plain(path, header, channels, bands) or header.bits >= 16):
        size, stored = header.upright_size, header.channels
    else:
        size, stored = _size_and_channels(path)
    check_bands(path, stored, bands)
    check_channels(path, stored if bands is None else len(bands), channels)
    return size


def read_mask_size(path: Path) -> Size:
    """Read the upright (height, width) from a mask's header, whatever its pixel type.

    Raises:
        ImageError: there is no such file, or its header is damaged.
    """
    header = read_header(path)
    return header.upright_size if header is not None else _size_and_channels(path)[0]


def read_label_map(path: Path, window: Window | None = None) -> Pixels:
    """Read a mask of class numbers, or a window of it: (H, W) in the bit depth of the file; palettes are not applied.

    A TIFF's nodata value counts as any other number.

    Raises:
        ImageError: there is no such file; it is damaged or cut short; or rasterio is needed and not installed.
        DatasetError: it is a colour picture, has several bands, or is a lossy JPEG, which does not preserve labels.
    """
    header = read_header(path)
    if header is not None:
        _check_map(path, header)
        alone = window is not None and header.labels_are_as_stored
        if alone or not is_plain_map(path, header):
            labels = upright(read_band(path, window if alone else None), header.orientation)
            return np.ascontiguousarray(labels if alone or window is None else window.cut(labels))
    opened = open_image(path, io.BytesIO(content_of(path)))
    if opened is None or opened.mode not in LABEL_MODES:
        raise DatasetError(
            f"{path} is a picture of {opened.mode if opened else 'an unknown'} mode, not a map of class numbers.",
            _LABELS_FORMAT,
        )
    if opened.format == "JPEG":
        raise _lossy(path)
    labels = np.asarray(decode(path, opened))
    labels = labels.astype(np.uint8) if labels.dtype == np.bool_ else labels.astype(labels.dtype.newbyteorder("="))
    labels = upright(labels, orientation(opened))
    return np.ascontiguousarray(labels if window is None else window.cut(labels))


@dataclass(frozen=True)
class ColourMasks:
    """Reads masks in which each class has a colour, as (H, W) int32 of the class numbers that `colours` assigns."""

    colours: tuple[tuple[Colour, int], ...]

    def __call__(self, path: Path, window: Window | None = None) -> Pixels:
        """Read one mask, or a window of it.

        Raises:
            ImageError: as `read_image`.
            DatasetError: a colour has no class (the message names it and its first pixel), or the mask has 16 bit.
        """
        pixels = read_image(path, channels=3, window=window)
        if pixels.dtype != np.uint8:
            raise DatasetError(f"{path} is a {pixels.dtype} colour mask.", "Save colour masks with 8 bit a channel.")
        table = sorted((_packed(*colour), label) for colour, label in self.colours)
        keys, labels = (np.array(column, dtype=np.int32) for column in zip(*table, strict=True))
        wanted = _packed(*(pixels[..., channel].astype(np.int32) for channel in range(3)))
        place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        unknown = keys[place] != wanted
        if unknown.any():
            y, x = (int(where) for where in np.unravel_index(unknown.argmax(), unknown.shape))
            colour = " ".join(str(value) for value in pixels[y, x])
            y, x = (y + window.y, x + window.x) if window else (y, x)
            raise DatasetError(
                f"{path} has the colour {colour} at (x={x}, y={y}), which no class has.",
                f"Give it to its class in classes.txt, or leave its pixels out with the line: ignore {colour}",
            )
        return np.asarray(labels[place])


def with_bands(path: Path, pixels: Pixels, bands: Sequence[int] | None) -> Pixels:
    """Return those bands (H, W, len(bands)) of a whole image, counted from 1; None keeps all.

    Raises:
        ImageError: the image lacks a band.
    """
    check_bands(path, pixels.shape[2], bands)
    return pixels if bands is None else pixels[..., [band - 1 for band in bands]]


def _size_and_channels(path: Path) -> tuple[Size, int]:
    with path.open("rb") as file:
        opened = open_image(path, file)
        if opened is None:  # only decoding tells the size
            height, width, stored = decode_image(path).shape
            return (height, width), stored
        width, height = opened.size
        size = (width, height) if orientation(opened) in ON_THEIR_SIDE else (height, width)
        return size, Image.getmodebands(plain_mode(opened))


def _is_plain(path: Path, header: TiffHeader, channels: int | None, bands: Sequence[int] | None) -> bool:
    if not header.is_image:
        raise unsupported(path, header.dtype)
    return is_plain_tiff(path, header, channels if bands is None else None)


def _check_map(path: Path, header: TiffHeader) -> None:
    if header.channels > 1:
        raise DatasetError(f"{path} has {header.channels} bands; a map of class numbers has one.", _LABELS_FORMAT)
    if header.kind not in ("uint", "int"):
        raise DatasetError(f"{path} has {header.dtype} pixels, not class numbers.", _LABELS_FORMAT)
    if header.compression == JPEG:
        raise _lossy(path)


def _lossy(path: Path) -> DatasetError:
    return DatasetError(
        f"{path} is a JPEG, whose compression changes class numbers.", "Save masks as PNG from their source."
    )


def _packed(red: Any, green: Any, blue: Any) -> Any:
    return (red << 16) | (green << 8) | blue
