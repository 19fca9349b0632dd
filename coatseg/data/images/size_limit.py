"""Images that are too large: refused by the pixels that their header states, before any are decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from PIL import Image

from coatseg.data.images.reading import read_size
from coatseg.data.images.slides import FULL, Scale
from coatseg.errors import ImageError
from coatseg.structures import Size

MAX_PIXELS = 10**9
"""A file that states more pixels is taken for a decompression bomb."""


def checked_size(path: Path, channels: int, bands: Sequence[int] | None, max_pixels: int, scale: Scale = FULL) -> Size:
    """Read the (height, width) from an image's header, of a pyramid at a scale.

    Raises:
        ImageError: it has more than `max_pixels`, or as `read_image` would, as far as the header tells.
    """
    try:
        with any_pixels():  # a header is read whatever it states
            height, width = read_size(path, channels, bands, scale)
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory.", "Look at it: it may be no image.") from error
    if height * width > max_pixels:
        raise ImageError(
            f"{path} states {height}x{width} pixels, more than max_pixels={max_pixels:.4g}.",
            "If it is no decompression bomb, raise max_pixels=...",
        )
    return height, width


class _Unlimited:
    """Pillow's limit of pixels, which all threads share: lifted by the first that reads, restored by the last."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.readers = 0
        self.before: int | None = None

    def begin(self) -> None:
        with self.lock:
            if self.readers == 0:
                self.before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self.readers += 1

    def end(self) -> None:
        with self.lock:
            self.readers -= 1
            if self.readers == 0:
                Image.MAX_IMAGE_PIXELS = self.before


_unlimited = _Unlimited()


@contextmanager
def any_pixels() -> Iterator[None]:
    """Let Pillow open images of any size, in any thread; `checked_size` refuses those that are too large."""
    _unlimited.begin()
    try:
        yield
    finally:
        _unlimited.end()
