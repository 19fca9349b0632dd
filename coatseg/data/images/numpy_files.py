"""Open arrays of numpy, of images and of masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from coatseg.data.images.decoding import DAMAGED, unreadable
from coatseg.errors import ImageError
from coatseg.structures import Pixels

NUMPY = ".npy"
_LIKELY_CHANNELS = 16


def open_array(path: Path) -> Pixels:
    """Map the array of a file into memory, without reading it: (H, W) or (H, W, C), of any type of numbers.

    Raises:
        ImageError: there is no such file; it is damaged, cut short, or holds objects, which could be programs; or its
            shape is not that of an image.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        if error.strerror is None:
            raise ImageError(f"{path} cannot be decoded: {error}.", DAMAGED) from error
        raise unreadable(path, error) from error
    except (ValueError, EOFError, SyntaxError) as error:
        raise ImageError(f"{path} cannot be decoded: {str(error).removesuffix('.')}.", DAMAGED) from error
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or not array.size:
        shape = getattr(array, "shape", "of an archive")
        raise ImageError(
            f"{path} has the shape {shape}; an image is (height, width) or (height, width, channels).",
            "Save each image as a file of its own.",
        )
    if array.ndim == 3 and array.shape[0] <= _LIKELY_CHANNELS < array.shape[2]:
        raise ImageError(
            f"{path} has the shape {array.shape}, and channels come last: (height, width, channels).",
            "Save np.moveaxis(array, 0, -1).",
        )
    return array
