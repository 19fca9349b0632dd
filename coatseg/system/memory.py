"""The size of the machine's memory, and a lack of it turned into an error about the images instead of a crash."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from coatseg.errors import ImageError
from coatseg.structures import Size

BY_TILES = "Cut it into tiles, or lower batch_size."
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""The files in which Linux states how much memory the processes of a container may take together."""


@contextmanager
def too_large(images: Mapping[str, Size], doing: str = "predict", mend: str = BY_TILES) -> Iterator[None]:
    """Turn a lack of memory into an error that names the images, whose (height, width) are given by id.

    `doing` is the verb of its message, `mend` its advice.

    Raises:
        ImageError: there was not enough memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        names = ", ".join(f"{image_id} ({height}x{width})" for image_id, (height, width) in images.items())
        raise ImageError(f"The memory is too small to {doing} {names}.", mend) from error


def physical_memory() -> int:
    """Return the machine's memory in bytes, or a container's limit; more than any image needs if that is unknown."""
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        there = 2**62
    limits = (path.read_text().strip() for path in LIMITS if path.is_file())
    return min(there, *(int(limit) for limit in limits if limit.isdecimal()), there)
