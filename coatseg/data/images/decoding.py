"""Decode image files by Pillow and OpenCV, whole or not at all.

Pillow decodes 8-bit files, since it refuses truncated ones and knows palettes; OpenCV decodes the deeper ones, which
Pillow would reduce to 8 bit.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile

from coatseg.data.images.normalization import PIXEL_RANGE
from coatseg.errors import ImageError
from coatseg.structures import Pixels

# It warns of every tag that it does not know, of every GeoTIFF that it reads; what is damaged it does not decode.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

DAMAGED = "The file is damaged or cut short: copy or download it again, or leave it out of the dataset."

_EXIF_ORIENTATION = 0x0112
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}
ON_THEIR_SIDE = frozenset({5, 6, 7, 8})

# Pillow's modes that are not plain channels, and the modes that they are converted to.
_PLAIN_MODES = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB"}
LABEL_MODES = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L"})


def decode_image(path: Path) -> Pixels:
    """Decode a whole image file, upright, to plain channels: (H, W, C) uint8, uint16 or float32.

    Raises:
        ImageError: there is no such file; it is damaged or cut short, has another pixel type, or more pixels than
            Pillow allows.
    """
    content = content_of(path)
    opened = open_image(path, io.BytesIO(content))
    if opened is None or is_deep(opened):
        pixels = _decode_deep(path, content, opened)
    else:
        pixels = np.asarray(decode(path, opened).convert(plain_mode(opened)))
    return upright(pixels if pixels.ndim == 3 else pixels[..., None], orientation(opened))


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Rotate and mirror pixels upright, given their EXIF or TIFF orientation, 1 to 8."""
    turn = _UPRIGHT.get(orientation)
    return pixels if turn is None else turn(pixels)


def content_of(path: Path) -> bytes:
    """Return the bytes of a file; raises ImageError if it cannot be opened."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> ImageError:
    """Return the error for a file that cannot be opened, with the reason."""
    return ImageError(
        f"{path} cannot be read: {error.strerror}.", "Check the path and that the dataset is unpacked whole."
    )


def unsupported(path: Path, dtype: object) -> ImageError:
    """Return the error for a file with pixels of a type that images do not have."""
    return ImageError(
        f"{path} has {dtype} pixels; images have uint8, uint16 or float32.",
        "Save it as 8- or 16-bit unsigned or as 32-bit float; for TIFF, `gdal_translate -ot Float32` does.",
    )


def open_image(path: Path, file: Any) -> Image.Image | None:
    """Open an image without decoding it; None if Pillow does not know its format, which another library may."""
    try:
        return Image.open(file)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} is too large: {error}",
            "Save it as a tiled TIFF, which has no limit, or cut it into tiles. If it is meant to be that large, "
            "a plugin module may raise PIL.Image.MAX_IMAGE_PIXELS.",
        ) from error
    except Exception:  # Pillow's parsers may raise any error when bytes make no sense
        return None


def decode(path: Path, opened: Image.Image) -> Image.Image:
    """Decode an image that Pillow opened; raises ImageError if it is damaged."""
    try:
        opened.load()
    except Exception as error:  # as above
        raise ImageError(f"{path} cannot be decoded: {error}.", DAMAGED) from error
    return opened


def _decode_deep(path: Path, content: bytes, opened: Image.Image | None) -> Pixels:
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    except cv2.error as error:
        raise ImageError(f"{path} cannot be decoded: {error}.", DAMAGED) from error
    if pixels is None:
        kind = opened.format if opened else None
        raise ImageError(f"{path} cannot be decoded{f' as {kind}' if kind else ': it is no known image'}.", DAMAGED)
    if pixels.dtype not in PIXEL_RANGE:
        raise unsupported(path, pixels.dtype)
    colour = pixels.ndim == 3 and pixels.shape[2] >= 3
    return np.asarray(pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]] if colour else pixels)  # from BGR


def is_deep(opened: Image.Image) -> bool:
    """Return whether Pillow would reduce the bit depth of an image."""
    return "16" in raw_mode(opened) or opened.mode in ("I", "F")


def raw_mode(opened: Image.Image) -> str:
    """Return how pixels lie in a file that is not decoded yet, by Pillow's names; empty where that is unknown."""
    tiles = opened.tile if isinstance(opened, ImageFile.ImageFile) else []
    arguments = tiles[0][3] if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def plain_mode(opened: Image.Image) -> str:
    """Return the mode of plain channels that an image is converted to."""
    if opened.mode == "P":
        return "RGBA" if "transparency" in opened.info else "RGB"
    return _PLAIN_MODES.get(opened.mode, opened.mode)


def orientation(opened: Image.Image | None) -> int:
    """Return the EXIF orientation that has to be applied after decoding, 1 if none."""
    # Both libraries turn TIFF by themselves. For a PNG without EXIF before its pixels Pillow would decode it all.
    if opened is None or opened.format == "TIFF" or (opened.format == "PNG" and "exif" not in opened.info):
        return 1
    try:
        return int(opened.getexif().get(_EXIF_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):  # damaged EXIF, sound pixels
        return 1
