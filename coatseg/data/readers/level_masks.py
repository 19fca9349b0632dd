"""Masks of slides: where a mask is a pyramid too, its level is read that the image's scale asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from coatseg.data.images.raster import Window
from coatseg.data.images.reading import LabelMaps, read_mask_size
from coatseg.data.images.slides import Scale, level_of
from coatseg.data.images.statements.sample_values import class_numbers
from coatseg.data.images.tiff.header import read_header
from coatseg.data.images.tiff.pyramid import Pyramid, open_pyramid
from coatseg.errors import DatasetError
from coatseg.structures import Pixels, Size


@dataclass(frozen=True)
class LevelMasks:
    """Reads masks of class numbers (H, W): of pyramids the level of a `scale`, as of the images; others by `plain`."""

    scale: Scale
    plain: LabelMaps

    def __call__(self, path: Path, window: Window | None = None) -> Pixels:
        """Read one mask, or a window of it.

        Raises:
            ImageError: it cannot be read, or lacks the level.
            DatasetError: it holds no class numbers.
        """
        pyramid = _pyramid(path)
        if pyramid is None:
            return self.plain(path, window)
        if not pyramid.is_map:
            raise DatasetError(
                f"{path} has levels of no class numbers: {pyramid.kind}.",
                "Save masks with one channel of whole numbers, without losses.",
            )
        header = read_header(path)
        values = pyramid.read(level_of(pyramid, self.scale), window)[..., 0]
        nodata = None if header is None else header.nodata
        return class_numbers(path, values, nodata, self.plain.ignore_index, self.plain.classes, window)

    def size(self, path: Path) -> Size:
        """Read the (height, width) that a mask has here.

        Raises:
            ImageError: it cannot be read, or lacks the level.
        """
        pyramid = _pyramid(path)
        return read_mask_size(path) if pyramid is None else pyramid.sizes[level_of(pyramid, self.scale)]


def _pyramid(path: Path) -> Pyramid | None:
    """Return a mask of several levels, or None."""
    if read_header(path) is None:
        return None
    pyramid = open_pyramid(path)
    return pyramid if len(pyramid.sizes) > 1 else None
