"""Pixels as they are read to what a model takes, and back to a picture: channels, scale, mean and deviation."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from coatseg.errors import ImageError
from coatseg.structures import DatasetInfo, Pixels

PIXEL_RANGE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
"""What 1.0 of the pixel scale is, for each type that an image may have."""


def _grey(pixels: Pixels) -> Pixels | None:
    grey = pixels[..., :1]
    return grey if bool((pixels[..., :3] == grey).all()) else None


# (channels in the file, channels wanted) -> the conversion, None from it if colour would be lost. Those of two and of
# four channels drop the last one.
_CONVERSIONS: dict[tuple[int, int], Callable[[Pixels], Pixels | None]] = {
    (1, 3): lambda pixels: pixels.repeat(3, axis=2),
    (2, 3): lambda pixels: pixels[..., :1].repeat(3, axis=2),
    (4, 3): lambda pixels: pixels[..., :3],
    (2, 1): lambda pixels: pixels[..., :1],
    (3, 1): _grey,
    (4, 1): _grey,
}


def check_channels(name: object, stored: int, channels: int | None, *, alpha: bool = False) -> None:
    """Raise if an image with `stored` channels can never be converted to `channels`.

    `alpha` says whether the image states that its last channel is alpha: no other one is dropped.

    Raises:
        ImageError: there is no such conversion; `name` is what the image is called.
    """
    if channels is None or channels == stored:
        return
    if (stored, channels) not in _CONVERSIONS:
        raise _channels_error(name, stored, channels)
    if stored in (2, 4) and not alpha:
        kept = "[1]" if 1 in (channels, stored - 1) else "[1,2,3]"
        raise ImageError(
            f"{name} has {stored} channels and does not say that the last one is alpha; the dataset states {channels}.",
            f"Set data.channels={stored}, or data.bands={kept} to leave it out.",
        )


def with_channels(name: object, pixels: Pixels, channels: int | None, *, alpha: bool = False) -> Pixels:
    """Convert an image (H, W, C) to so many channels: grey to colour, and back where no colour is lost, alpha dropped.

    Raises:
        ImageError: there is no such conversion, colour would be lost, or a channel that is not stated to be `alpha`;
            `name` is what the image is called.
    """
    stored = pixels.shape[2]
    if channels is None or channels == stored:
        return pixels
    check_channels(name, stored, channels, alpha=alpha)
    converted = _CONVERSIONS[stored, channels](pixels)
    if converted is None:
        raise _channels_error(name, stored, channels)
    return converted


def _channels_error(name: object, stored: int, channels: int) -> ImageError:
    return ImageError(
        f"{name} has {stored} channels, in colour if it has three, and the dataset states {channels}.",
        f"Set data.channels={stored} if all images are like it, or convert the file.",
    )


def normalise(image: Pixels, info: DatasetInfo, out: Tensor | None = None) -> Tensor:
    """Turn an (H, W, C) image as read into the (C, H, W) float32 that a model takes: pixel scale, minus mean, over std.

    It is written to `out` if that is given, which may be a part of a larger tensor.

    Raises:
        ImageError: another number of channels, or another pixel type, than the dataset may have.
    """
    if image.ndim != 3 or image.shape[2] != info.channels or image.dtype not in PIXEL_RANGE:
        raise ImageError(
            f"An image of shape {image.shape} and type {image.dtype} is not (height, width, {info.channels}) "
            f"of {', '.join(str(dtype) for dtype in PIXEL_RANGE)}.",
            f"{info.name} has {info.channels} channels: read images with read_image(path, channels={info.channels}).",
        )
    out = torch.empty(info.channels, *image.shape[:2]) if out is None else out
    if image.dtype != np.uint8:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
        return _standardised(out.copy_(torch.from_numpy(planes)), PIXEL_RANGE[image.dtype], info)
    bytes_ = torch.arange(256.0).repeat(info.channels, 1, 1)
    tables = _standardised(bytes_, PIXEL_RANGE[image.dtype], info).numpy()
    for plane, table, place in zip(cv2.split(image), tables, out.numpy(), strict=True):
        cv2.LUT(plane, table[0], dst=place)
    return out


def _standardised(planes: Tensor, top: float, info: DatasetInfo) -> Tensor:
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (info.mean, info.std))
    return planes.div_(top).sub_(mean).div_(std)


def denormalise(tensor: Tensor, info: DatasetInfo) -> npt.NDArray[np.uint8]:
    """Turn a normalised (C, H, W) tensor back into a picture: (H, W, 3) uint8.

    It shows the first three channels, or the first in grey where there are fewer. A channel whose mean is not in 0 to 1
    (float32 in units of its own), or whose values keep to less than a quarter of that range (a satellite's 16 bit), is
    shown from two standard deviations below its mean to two above.
    """
    count = 3 if info.channels >= 3 else 1
    mean, std = np.array(info.mean[:count]), np.array(info.std[:count])
    stretched = (mean < 0) | (mean > 1) | (4 * std < 0.25)
    low, span = np.where(stretched, mean - 2 * std, 0.0), np.where(stretched, 4 * std, 1.0)
    channels = tensor[:count].detach().float().cpu().numpy().transpose(1, 2, 0)
    shown = (channels * std + mean - low) / span
    picture: npt.NDArray[np.uint8] = (shown * 255).round().clip(0, 255).astype(np.uint8)
    return picture if count == 3 else picture.repeat(3, axis=2)
