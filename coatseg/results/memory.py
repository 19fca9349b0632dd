"""Images that are too large for the machine are errors of their own, not the end of the program."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from coatseg.errors import ImageError
from coatseg.results.opened import OpenedImage
from coatseg.structures import Size

BY_WINDOWS = "Set inference.window=[512,512], or lower inference.window_batch or batch_size."
BY_TILES = "Cut it into tiles, or lower batch_size."

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says what a container's processes may take together."""
MAPS_BYTES = 256
"""What the feature maps of a small model take a pixel: less than the 350 measured of CoaT-Lite Mini under FPN."""


def check_images_fit(images: Sequence[OpenedImage], classes: int, device: torch.device) -> None:
    """Refuse a batch that certainly takes more than the machine's memory, before the system ends the program.

    Counted are its logits, once more their probabilities, and on a CPU the feature maps.
    """
    per_pixel = 8 * classes + (MAPS_BYTES if device.type == "cpu" else 0)
    needed, there = per_pixel * sum(image.size[0] * image.size[1] for image in images), physical_memory()
    if needed > there:
        names = ", ".join(f"{image.id} ({image.size[0]}x{image.size[1]})" for image in images)
        raise ImageError(
            f"{names} of {classes} classes: {needed / 1e9:.0f} GB of memory, and there are {there / 1e9:.0f}.",
            BY_WINDOWS,
        )


@contextmanager
def too_large(images: Mapping[str, Size], doing: str = "predict", mend: str = BY_TILES) -> Iterator[None]:
    """Turn a lack of memory into an error of the images, whose (height, width) are given by id, with what helps.

    Raises:
        ImageError: there was not memory enough.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        names = ", ".join(f"{image_id} ({height}x{width})" for image_id, (height, width) in images.items())
        raise ImageError(f"The memory is too small to {doing} {names}.", mend) from error


def physical_memory() -> int:
    """Give the machine's memory in bytes, or what a container may take of it; unknown, more than any image takes."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        there = 2**62
    limits = (path.read_text().strip() for path in LIMITS if path.is_file())
    return min(there, *(int(limit) for limit in limits if limit.isdecimal()), there)
