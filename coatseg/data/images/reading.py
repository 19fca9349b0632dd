"""Image and label files to arrays, and their sizes from their headers: nothing half read, nothing guessed.

How the pixels of each format are read is in stored_images.py.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from coatseg.data.images.decoding import (
    LABEL_MODES,
    content_of,
    decode,
    open_image,
    orientation,
    raw_mode,
    upright,
)
from coatseg.data.images.normalization import check_channels, with_channels
from coatseg.data.images.numpy_files import NUMPY, open_array
from coatseg.data.images.raster import JPEG_2000, Window, check_bands, read_band
from coatseg.data.images.slides import FULL, SLIDE_SUFFIXES, Scale
from coatseg.data.images.statements.sample_values import class_numbers
from coatseg.data.images.stored_images import size_and_channels, stored_image
from coatseg.data.images.tiff.header import JPEG, TiffHeader, read_header
from coatseg.data.images.tiff.libraries import is_plain_map
from coatseg.data.images.tiff.pages import listed_pages
from coatseg.errors import DatasetError
from coatseg.structures import Colour, Pixels, Size

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".jp2", ".npy"}) | SLIDE_SUFFIXES
"""How the names of image files end."""

NO_IMAGES = ("_seg.npy",)
"""Endings of files beside images that look like images: cellpose's outlines."""

_TIFF_SUFFIXES = (".tif", ".tiff")
_DOUBLE = ".ome"

_SPREAD = {"L;2": 85, "L;4": 17}
"""By how much Pillow multiplies grey of fewer than eight bits, so that it fills them."""

_LABELS_FORMAT = (
    "Save class numbers as an 8- or 16-bit single-channel PNG or TIFF; an own dataset may use colours instead: "
    "give each class its colour in classes.txt and set data.colour_masks=true."
)


def stem_of(path: PurePath) -> str:
    """Return a path without the suffix of its format, with "/" between folders: town/a of town/a.png and a.ome.tif."""
    stem = path.with_suffix("")
    if path.suffix.lower() in _TIFF_SUFFIXES and stem.suffix.lower() == _DOUBLE:
        stem = stem.with_suffix("")
    return stem.as_posix()


def read_image(
    path: Path,
    channels: int | None = None,
    bands: Sequence[int] | None = None,
    window: Window | None = None,
    scale: Scale = FULL,
) -> Pixels:
    """Read an image, upright by its EXIF orientation.

    Returns (H, W, C) uint8, uint16 or float32, in the bit depth of the file; a lower depth that the file states, as 12
    bits in 16, is scaled to the whole range. C is `channels`, with grey repeated to RGB and what says that it is alpha
    dropped, or what the file has. `bands` selects channels, counted from 1, before that. A `window` of a TIFF, JPEG
    2000 or numpy file is read by itself; other files, and a TIFF that is rotated or in other colours than grey and RGB,
    are decoded whole and then cut. `scale` chooses a level of a slide or pyramid, in whose pixels
    the window is.

    Raises:
        ImageError: there is no such file; it is damaged or cut short, has other pixel types, channels, bands or pages,
            or is not a TIFF and has more pixels than Pillow allows; or rasterio is needed and not installed.
    """
    stored = stored_image(path, channels, bands, scale)
    pixels = stored.read(bands, window)
    alpha = bands is None and pixels.shape[2] != channels and stored.alpha
    converted = with_channels(path, pixels, channels, alpha=alpha)
    # Pillow's arrays are read-only, and neither OpenCV nor torch takes reversed strides.
    return np.require(converted, requirements=["C", "W"])


def read_size(path: Path, channels: int | None = None, bands: Sequence[int] | None = None, scale: Scale = FULL) -> Size:
    """Read the upright (height, width) from an image's header, without decoding it.

    Raises:
        ImageError: as `read_image` would, as far as the header tells.
    """
    stored = stored_image(path, channels, bands, scale)
    size, found = stored.facts()
    check_bands(path, found, bands)
    count = found if bands is None else len(bands)
    if channels not in (None, count):
        check_channels(path, count, channels, alpha=bands is None and stored.alpha)
    return size


def read_mask_size(path: Path) -> Size:
    """Read the upright (height, width) from a mask's header, whatever its pixel type.

    Raises:
        ImageError: there is no such file, or its header is damaged.
    """
    if path.suffix.lower() == NUMPY:
        height, width = open_array(path).shape[:2]
        return height, width
    header = read_header(path)
    return header.upright_size if header is not None else size_and_channels(path)[0]


def read_label_map(
    path: Path, window: Window | None = None, *, ignore_index: int | None = None, classes: int = 0
) -> Pixels:
    """Read a mask of class numbers, or a window of it: (H, W) integers as they are stored; palettes are not applied.

    Whole numbers in floats are taken. With `ignore_index`, pixels that are nan or of the TIFF's nodata value become it,
    but for a nodata value below `classes`, which is a class: GIS software writes nodata=0 where 0 is the background.
    Without it, nan is no class number and nodata counts as any other number.

    Raises:
        ImageError: there is no such file; it is damaged or cut short; or rasterio is needed and not installed.
        DatasetError: it is a colour picture, has several bands or pages, holds a number that is not whole, or is of a
            lossy format, which does not preserve labels.
    """
    values, nodata = _stored_labels(path, window)
    return np.ascontiguousarray(class_numbers(path, values, nodata, ignore_index, classes, window))


@dataclass(frozen=True)
class LabelMaps:
    """Reads masks of class numbers of a dataset with `classes` classes; see `read_label_map`."""

    classes: int
    ignore_index: int

    def __call__(self, path: Path, window: Window | None = None) -> Pixels:
        """Read one mask, or a window of it."""
        return read_label_map(path, window, ignore_index=self.ignore_index, classes=self.classes)


@dataclass(frozen=True)
class ColourMasks:
    """Reads masks in which each class has a colour, as (H, W) int32 of the class numbers that `colours` assigns."""

    colours: tuple[tuple[Colour, int], ...]
    mend: str = "Give it to its class in classes.txt, or leave its pixels out with the line: ignore {colour}"
    """What to do about another {colour}."""

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
                self.mend.replace("{colour}", colour),
            )
        return np.asarray(labels[place])


def _stored_labels(path: Path, window: Window | None) -> tuple[Pixels, float | None]:
    """Return the values of a mask, of any type, and its nodata value."""
    if path.suffix.lower() == NUMPY:
        return _array_of_labels(path, window), None
    if path.suffix.lower() == JPEG_2000:
        raise _lossy(path, "JPEG 2000 file")
    header = read_header(path)
    if header is not None:
        _check_map(path, header)
        alone = window is not None and header.labels_are_as_stored
        if alone or not is_plain_map(path, header):
            labels = upright(read_band(path, window if alone else None), header.orientation)
            return labels if alone or window is None else window.cut(labels), header.nodata
    labels = _by_pillow(path)
    return labels if window is None else window.cut(labels), None if header is None else header.nodata


def _by_pillow(path: Path) -> Pixels:
    opened = open_image(path, io.BytesIO(content_of(path)))
    if opened is None or opened.mode not in LABEL_MODES:
        raise DatasetError(
            f"{path} is a picture of {opened.mode if opened else 'an unknown'} mode, not a map of class numbers.",
            _LABELS_FORMAT,
        )
    if opened.format == "JPEG":
        raise _lossy(path)
    step = _SPREAD.get(raw_mode(opened), 1)  # known before decoding only
    labels = np.asarray(decode(path, opened))
    if step > 1:
        labels = labels // step
    labels = labels.astype(np.uint8) if labels.dtype == np.bool_ else labels.astype(labels.dtype.newbyteorder("="))
    return upright(labels, orientation(opened))


def _array_of_labels(path: Path, window: Window | None) -> Pixels:
    array = open_array(path)
    if array.ndim != 2 or array.dtype.kind not in "buif":
        raise DatasetError(
            f"{path} is an array of shape {array.shape} and type {array.dtype}, not a map of class numbers.",
            "Save one of whole numbers and of the shape (height, width).",
        )
    part = np.array(array if window is None else window.cut(array))
    return part.astype(np.uint8) if part.dtype.kind == "b" else part.astype(part.dtype.newbyteorder("="))


def _check_map(path: Path, header: TiffHeader) -> None:
    listed_pages(path, header)
    if len(header.pages) > 1:
        raise DatasetError(
            f"{path} has {len(header.pages)} pages; a map of class numbers has one.",
            "Save the page of class numbers as a file of its own. If each page is a class, set data.layers=true.",
        )
    if header.channels > 1:
        raise DatasetError(f"{path} has {header.channels} bands; a map of class numbers has one.", _LABELS_FORMAT)
    if header.kind not in ("uint", "int", "float"):
        raise DatasetError(f"{path} has {header.dtype} pixels, not class numbers.", _LABELS_FORMAT)
    if header.compression == JPEG:
        raise _lossy(path)


def _lossy(path: Path, kind: str = "JPEG") -> DatasetError:
    return DatasetError(
        f"{path} is a {kind}, whose compression changes class numbers.", "Save masks as PNG from their source."
    )


def _packed(red: Any, green: Any, blue: Any) -> Any:
    return (red << 16) | (green << 8) | blue
