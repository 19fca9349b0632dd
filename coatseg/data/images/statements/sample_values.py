"""What the numbers of a file mean: brightness by its stated depth and photometry, class numbers by its nodata value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from coatseg.data.images.raster import Window
from coatseg.errors import DatasetError, ImageError
from coatseg.structures import Pixels


def full_range(path: Path, pixels: Pixels, top: int, *, white_is_zero: bool = False) -> Pixels:
    """Scale integer pixels of which `top` is the greatest to the range of their type, and turn white as zero around.

    A camera's 12 bits in 16 so become numbers from 0 to 65535, on the one pixel scale that all images have.

    Raises:
        ImageError: a pixel is above `top`.
    """
    if pixels.dtype.kind == "f":
        return pixels
    whole = int(np.iinfo(pixels.dtype).max)
    if top < whole:
        found = int(pixels.max(initial=0))
        if found > top:
            raise ImageError(
                f"{path} has a pixel of {found}, and states that {top} is the greatest.",
                "Save it again without the tag MaxSampleValue, or with the depth that it has.",
            )
        pixels = np.rint(np.arange(top + 1) * (whole / top)).astype(pixels.dtype)[pixels]
    return whole - pixels if white_is_zero else pixels


def class_numbers(
    path: Path,
    values: Pixels,
    nodata: float | None,
    ignore_index: int | None,
    classes: int = 0,
    window: Window | None = None,
) -> Pixels:
    """Return the integer class numbers of a mask (H, W), of which `values` may be whole numbers in floats.

    Pixels that are no numbers, and those of `nodata` unless it is one of the `classes`, become `ignore_index`, if that
    is given; else nodata is a number like any other. Errors name places in the file, of which a `window` was read.

    Raises:
        DatasetError: a value is no whole number.
    """
    unknown = None if ignore_index is None else _unknown(values, nodata, classes)
    if values.dtype.kind == "f":
        values = _whole(path, values, unknown, window)
    if ignore_index is None or unknown is None or not unknown.any():
        return values
    values = values.astype(np.result_type(values.dtype, np.min_scalar_type(ignore_index)))
    values[unknown] = ignore_index
    return values


def _unknown(values: Pixels, nodata: float | None, classes: int) -> npt.NDArray[np.bool_] | None:
    unknown: npt.NDArray[np.bool_] | None = np.isnan(values) if values.dtype.kind == "f" else None
    if nodata is None or np.isnan(nodata) or nodata in range(classes):
        return unknown
    if unknown is not None:
        with np.errstate(over="ignore"):  # that of a double in a file of floats
            unknown |= values == values.dtype.type(nodata)
        return unknown
    span = np.iinfo(values.dtype)
    return np.equal(values, int(nodata)) if nodata.is_integer() and span.min <= nodata <= span.max else None


def _whole(path: Path, values: Pixels, unknown: npt.NDArray[np.bool_] | None, window: Window | None) -> Pixels:
    known = values if unknown is None else np.where(unknown, values.dtype.type(0), values)
    with np.errstate(invalid="ignore"):
        wrong = ~((known == np.rint(known)) & (abs(known) < 2**31))
    if wrong.any():
        y, x = (int(place) for place in np.unravel_index(wrong.argmax(), wrong.shape))
        corner = (window.y, window.x) if window else (0, 0)
        raise DatasetError(
            f"{path} has {values.dtype} pixels, not class numbers: {values[y, x]:g}, "
            f"first at (x={x + corner[1]}, y={y + corner[0]}).",
            "Save whole numbers, and nodata or nan only where nothing is known.",
        )
    return known.astype(np.int32)
