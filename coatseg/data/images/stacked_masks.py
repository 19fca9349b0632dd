"""Masks of all classes in one file: a page or a band of a TIFF, or a channel of an array, for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from coatseg.data.images.numpy_files import NUMPY, open_array
from coatseg.data.images.raster import Window, read_band
from coatseg.data.images.statements.sample_values import class_numbers
from coatseg.data.images.tiff.header import TiffHeader, read_header
from coatseg.errors import DatasetError
from coatseg.structures import Pixels

STACK_SUFFIXES = frozenset({".tif", ".tiff", NUMPY})


def read_stacked_layer(path: Path, number: int, count: int, window: Window | None, *, unknown: int) -> Pixels:
    """Read the mask of class `number`, from 0, of a file that has one for each of `count` classes: (H, W) integers.

    Pixels that are nan or of a nodata value other than 0 become `unknown`.

    Raises:
        ImageError: the file cannot be read.
        DatasetError: it has another number of pages, bands or channels, or numbers that are not whole.
    """
    if path.suffix.lower() == NUMPY:
        array = open_array(path)
        _check(path, count, array.shape[2] if array.ndim == 3 else 1)
        values = np.array((array if window is None else window.cut(array))[..., number])
        nodata = None
    else:
        header = read_header(path)
        _check(path, count, _layers_of(header))
        assert header is not None
        paged = len(header.pages) > 1
        band, page = (1, header.pages[number]) if paged else (number + 1, 1)
        values, nodata = read_band(path, window, band, page), header.nodata
    return class_numbers(path, values, nodata, unknown, classes=1, window=window)


def _layers_of(header: TiffHeader | None) -> int:
    if header is None or header.orientation != 1 or (len(header.pages) > 1 and header.channels > 1):
        return 0
    return max(len(header.pages), header.channels)


def _check(path: Path, count: int, found: int) -> None:
    if found != count:
        raise DatasetError(
            f"{path} has {found} pages or bands for {count} classes.",
            "Save one for each line of the classes file, in its order, or a file a class in a folder of its name.",
        )
