"""Images that are too large for the machine are errors of their own, not the end of the program."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from coatseg.errors import ImageError
from coatseg.results.opened import OpenedImage
from coatseg.structures import Size

BY_WINDOWS = "Set inference.window=[512,512], or lower inference.window_batch or batch_size."


MAPS_BYTES = 256
"""What the feature maps of a small model take a pixel: less than the 350 measured of CoaT-Lite Mini under FPN."""


def check_image_fits(image: OpenedImage, classes: int, device: torch.device) -> None:
    """Refuse an image that certainly takes more than the machine's memory, before the system ends the program.

    Counted are its logits, once more their probabilities, and on a CPU the feature maps.
    """
    height, width = image.size
    per_pixel = 8 * classes + (MAPS_BYTES if device.type == "cpu" else 0)
    needed, there = per_pixel * height * width, physical_memory()
    if needed > there:
        raise ImageError(
            f"{image.id}: {classes} classes at {height}x{width} pixels take {needed / 1e9:.0f} GB of memory, and there "
            f"are {there / 1e9:.0f}.",
            BY_WINDOWS,
        )


@contextmanager
def too_large(images: Mapping[str, Size], doing: str = "predict") -> Iterator[None]:
    """Turn a lack of memory into an error of the images, whose (height, width) are given by id.

    Raises:
        ImageError: there was not memory enough.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        names = ", ".join(f"{image_id} ({height}x{width})" for image_id, (height, width) in images.items())
        raise ImageError(f"The memory is too small to {doing} {names}.", BY_WINDOWS) from error


def physical_memory() -> int:
    """Give the machine's memory in bytes; without an answer, more than any image takes."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**62
