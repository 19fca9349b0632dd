"""Refuse images that certainly need more memory than the machine has, before the system kills the program."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from coatseg.errors import ImageError
from coatseg.results.predict.opened_image import OpenedImage
from coatseg.system.memory import BY_TILES, physical_memory

BY_WINDOWS = "Set inference.window=[512,512], or lower inference.window_batch or batch_size."

MAPS_BYTES = 256
"""Bytes a pixel of a small model's feature maps: less than the 350 measured for CoaT-Lite Mini under FPN."""


def check_images_fit(images: Sequence[OpenedImage], classes: int, device: torch.device) -> None:
    """Raise ImageError if a batch certainly needs more than the machine's memory, before the system kills the program.

    Its logits are counted, its probabilities once more and, on a CPU, the feature maps.
    """
    _check(images, 8 * classes + (MAPS_BYTES if device.type == "cpu" else 0), f" of {classes} classes", BY_WINDOWS)


def check_maps_fit(images: Sequence[OpenedImage], device: torch.device) -> None:
    """Raise ImageError if the feature maps alone of a batch that is seen whole need more memory, on a CPU.

    What segments are merged of is not counted: heads hold more or less of it at once.
    """
    _check(images, MAPS_BYTES if device.type == "cpu" else 0, "", BY_TILES)


def _check(images: Sequence[OpenedImage], per_pixel: int, of: str, mend: str) -> None:
    needed, there = per_pixel * sum(image.size[0] * image.size[1] for image in images), physical_memory()
    if needed > there:
        names = ", ".join(f"{image.id} ({image.size[0]}x{image.size[1]})" for image in images)
        raise ImageError(f"{names}{of}: {needed / 1e9:.0f} GB of memory, and there are {there / 1e9:.0f}.", mend)
