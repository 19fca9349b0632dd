"""Image and label files to arrays, and arrays to what a model takes: nothing half read, nothing guessed.

Pillow decodes 8-bit files, since it refuses truncated ones and knows palettes; OpenCV decodes the deeper ones, which
Pillow would cut to 8 bit.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFile
from torch import Tensor

from coatseg.errors import DatasetError, ImageError
from coatseg.structures import Colour, DatasetInfo, Size

Pixels = npt.NDArray[Any]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})

# What 1.0 of the pixel scale is, for each type that an image may have.
PIXEL_RANGE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}

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
_ON_THEIR_SIDE = frozenset({5, 6, 7, 8})

# Pillow's modes that are not plain channels yet, and what they become.
_PLAIN_MODES = {"1": "L", "PA": "RGBA", "La": "LA", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB"}
_LABEL_MODES = frozenset({"1", "L", "P", "I", "I;16", "I;16B", "I;16L"})

_DAMAGED = "The file is damaged or cut short: copy or download it again, or leave it out of the dataset."


def _grey(pixels: Pixels) -> Pixels | None:
    grey = pixels[..., :1]
    return grey if bool((pixels[..., :3] == grey).all()) else None


# (channels in the file, channels wanted) -> the conversion, None from it if colour would be lost.
_CONVERSIONS: dict[tuple[int, int], Callable[[Pixels], Pixels | None]] = {
    (1, 3): lambda pixels: pixels.repeat(3, axis=2),
    (2, 3): lambda pixels: pixels[..., :1].repeat(3, axis=2),
    (4, 3): lambda pixels: pixels[..., :3],
    (2, 1): lambda pixels: pixels[..., :1],
    (3, 1): _grey,
    (4, 1): _grey,
}


def read_image(path: Path, channels: int | None = None) -> Pixels:
    """Read an image, upright by its EXIF orientation.

    Gives (H, W, C) uint8, uint16 or float32, as deep as the file is. C is `channels`, with grey repeated to RGB and
    alpha dropped, or what the file has.

    Raises:
        ImageError: no such file; damaged or cut short; other pixel types or channels; more pixels than Pillow allows.
    """
    content = _content(path)
    opened = _open(path, io.BytesIO(content))
    if opened is None or _is_deep(opened):
        pixels = _decode_deep(path, content, opened)
    else:
        pixels = np.asarray(_decode(path, opened).convert(_plain_mode(opened)))
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    upright = _UPRIGHT.get(_orientation(opened))
    pixels = _with_channels(path, pixels if upright is None else upright(pixels), channels)
    # Pillow's arrays are read-only, and neither OpenCV nor torch takes reversed strides.
    return np.require(pixels, requirements=["C", "W"])


def read_size(path: Path, channels: int | None = None) -> Size:
    """Read the upright (height, width) from an image's header, without decoding it.

    Raises:
        ImageError: what `read_image` would raise, as far as the header tells.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        opened = _open(path, file)
        if opened is None:  # only decoding tells
            height, width = read_image(path, channels).shape[:2]
            return height, width
        stored = Image.getmodebands(_plain_mode(opened))
        if channels is not None and channels != stored and (stored, channels) not in _CONVERSIONS:
            raise _channels_error(path, stored, channels)
        width, height = opened.size
        return (width, height) if _orientation(opened) in _ON_THEIR_SIDE else (height, width)


def read_label_map(path: Path) -> Pixels:
    """Read a mask that holds class numbers: (H, W), 8 or 16 bit as stored; a palette's indices stay indices.

    Raises:
        ImageError: no such file; damaged or cut short.
        DatasetError: a colour picture, or a lossy JPEG, whose labels cannot be told.
    """
    opened = _open(path, io.BytesIO(_content(path)))
    if opened is None or opened.mode not in _LABEL_MODES:
        raise DatasetError(
            f"{path} is a picture of {opened.mode if opened else 'an unknown'} mode, not a map of class numbers.",
            "Save class numbers as an 8- or 16-bit single-channel PNG; an own dataset may use colours instead: "
            "give each class its colour in classes.txt and set data.colour_masks=true.",
        )
    if opened.format == "JPEG":
        raise DatasetError(
            f"{path} is a JPEG, whose compression changes class numbers.", "Save masks as PNG from their source."
        )
    labels = np.asarray(_decode(path, opened))
    labels = labels.astype(np.uint8) if labels.dtype == np.bool_ else labels.astype(labels.dtype.newbyteorder("="))
    upright = _UPRIGHT.get(_orientation(opened))
    return labels if upright is None else np.ascontiguousarray(upright(labels))


@dataclass(frozen=True)
class ColourMasks:
    """Reads masks that paint each class in a colour: (H, W) int32 of the numbers that `colours` gives them."""

    colours: tuple[tuple[Colour, int], ...]

    def __call__(self, path: Path) -> Pixels:
        """Read one mask.

        Raises:
            ImageError: as `read_image`.
            DatasetError: a colour without a class, named with the place where it is first seen, or a 16-bit mask.
        """
        pixels = read_image(path, channels=3)
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
            raise DatasetError(
                f"{path} has the colour {colour} at (x={x}, y={y}), which no class has.",
                f"Give it to its class in classes.txt, or leave its pixels out with the line: ignore {colour}",
            )
        return np.asarray(labels[place])


def normalise(image: Pixels, info: DatasetInfo) -> Tensor:
    """Turn an (H, W, C) image as read into the (C, H, W) float32 that a model takes: pixel scale, minus mean, over std.

    Raises:
        ImageError: another number of channels, or another pixel type, than the dataset may have.
    """
    if image.ndim != 3 or image.shape[2] != info.channels or image.dtype not in PIXEL_RANGE:
        raise ImageError(
            f"An image of shape {image.shape} and type {image.dtype} is not (height, width, {info.channels}) "
            f"of {', '.join(str(dtype) for dtype in PIXEL_RANGE)}.",
            f"{info.name} has {info.channels} channels: read images with read_image(path, channels={info.channels}).",
        )
    # Transposing bytes before they become floats moves a quarter of the memory.
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    std = torch.tensor(info.std).view(-1, 1, 1)
    mean = torch.tensor(info.mean).view(-1, 1, 1)
    return torch.from_numpy(planes).div_(PIXEL_RANGE[image.dtype]).sub_(mean).div_(std)


def denormalise(tensor: Tensor, info: DatasetInfo) -> npt.NDArray[np.uint8]:
    """Turn a normalised (C, H, W) tensor back into a picture: (H, W, 3) uint8, the first three channels or grey.

    A channel whose mean is not in 0 to 1 (float32 in units of its own) is shown from two standard deviations below
    its mean to two above.
    """
    count = 3 if info.channels >= 3 else 1
    mean, std = np.array(info.mean[:count]), np.array(info.std[:count])
    in_units = (mean < 0) | (mean > 1)
    low, span = np.where(in_units, mean - 2 * std, 0.0), np.where(in_units, 4 * std, 1.0)
    channels = tensor[:count].detach().float().cpu().numpy().transpose(1, 2, 0)
    shown = (channels * std + mean - low) / span
    picture: npt.NDArray[np.uint8] = (shown * 255).round().clip(0, 255).astype(np.uint8)
    return picture if count == 3 else picture.repeat(3, axis=2)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(
        f"{path} cannot be read: {error.strerror}.", "Check the path and that the dataset is unpacked whole."
    )


def _open(path: Path, file: Any) -> Image.Image | None:
    """Open without decoding; None if Pillow does not know the format, which OpenCV may."""
    try:
        return Image.open(file)
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path} is too large: {error}",
            "Cut it into tiles. If it is meant to be that large, a plugin module may raise PIL.Image.MAX_IMAGE_PIXELS.",
        ) from error
    except Exception:  # Pillow's parsers let any error of theirs through when bytes make no sense
        return None


def _decode(path: Path, opened: Image.Image) -> Image.Image:
    try:
        opened.load()
    except Exception as error:  # as above
        raise ImageError(f"{path} cannot be decoded: {error}.", _DAMAGED) from error
    return opened


def _decode_deep(path: Path, content: bytes, opened: Image.Image | None) -> Pixels:
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    except cv2.error as error:
        raise ImageError(f"{path} cannot be decoded: {error}.", _DAMAGED) from error
    if pixels is None:
        kind = opened.format if opened else None
        raise ImageError(f"{path} cannot be decoded{f' as {kind}' if kind else ': it is no known image'}.", _DAMAGED)
    if pixels.dtype not in PIXEL_RANGE:
        raise ImageError(f"{path} has {pixels.dtype} pixels.", "Save it as 8- or 16-bit unsigned or as 32-bit float.")
    colour = pixels.ndim == 3 and pixels.shape[2] >= 3
    return np.asarray(pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]] if colour else pixels)  # from BGR


def _is_deep(opened: Image.Image) -> bool:
    tiles = opened.tile if isinstance(opened, ImageFile.ImageFile) else []
    arguments = tiles[0][3] if tiles else ""
    raw_mode = arguments[0] if isinstance(arguments, tuple) else arguments
    return "16" in str(raw_mode) or opened.mode in ("I", "F")


def _plain_mode(opened: Image.Image) -> str:
    if opened.mode == "P":
        return "RGBA" if "transparency" in opened.info else "RGB"
    return _PLAIN_MODES.get(opened.mode, opened.mode)


def _orientation(opened: Image.Image | None) -> int:
    # Both libraries turn TIFF by themselves. For a PNG without EXIF ahead of its pixels Pillow would decode it all.
    if opened is None or opened.format == "TIFF" or (opened.format == "PNG" and "exif" not in opened.info):
        return 1
    return int(opened.getexif().get(_EXIF_ORIENTATION, 1))


def _with_channels(path: Path, pixels: Pixels, channels: int | None) -> Pixels:
    stored = pixels.shape[2]
    if channels is None or channels == stored:
        return pixels
    convert = _CONVERSIONS.get((stored, channels))
    converted = convert(pixels) if convert else None
    if converted is None:
        raise _channels_error(path, stored, channels)
    return converted


def _channels_error(path: Path, stored: int, channels: int) -> ImageError:
    return ImageError(
        f"{path} has {stored} channels, in colour if it has three, and the dataset states {channels}.",
        f"Set data.channels={stored} if all images are like it, or convert the file.",
    )


def _packed(red: Any, green: Any, blue: Any) -> Any:
    return (red << 16) | (green << 8) | blue
