"""Pixels without data: what a file states for them, where they are, and the mean that takes their place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator

from coatseg.data.images.normalization import PIXEL_RANGE
from coatseg.data.images.tiff.header import PALETTE, WHITE_IS_ZERO, TiffHeader, read_header
from coatseg.errors import ImageError
from coatseg.registry.options import legal
from coatseg.structures import Pixels

TIFF = (".tif", ".tiff")


def _as_word(value: Any) -> Any:
    """Return nan as a word, which equals itself, so that configurations can be compared."""
    return "nan" if isinstance(value, float) and math.isnan(value) else value


NoDataOption = Annotated[
    Literal["stated", "nan"] | float | None,
    BeforeValidator(_as_word),
    legal("Write stated, for the value that each file states, or a number, or nan"),
]


@dataclass(frozen=True)
class NoData:
    """Finds the pixels of an image that hold no data, and fills them with the mean, which normalises to zero.

    `value` is what they hold: a number, "stated" for the one that each file states, or "nan", which counts beside any
    other. `mean` is that of each channel, on the pixel scale.
    """

    value: Literal["stated", "nan"] | float
    mean: tuple[float, ...]

    @classmethod
    def of(cls, option: Literal["stated", "nan"] | float | None, mean: Sequence[float]) -> NoData | None:
        """Return what the option data.nodata says, or None where it says nothing."""
        return None if option is None else cls(option, tuple(mean))

    def held(self, path: Path | None) -> float:
        """Return what the pixels without data of a file hold; nan where that is not known.

        Raises:
            ImageError: the file is damaged; or it states a number that its palette gives a colour.
        """
        header = None if path is None else _tiff_header(path)
        if self.value == "stated":
            if header is None or header.nodata is None:
                return math.nan
            if header.photometric == PALETTE:
                raise ImageError(
                    f"{path} states {header.nodata:g} for no data, which its palette gives a colour.",
                    "Save it as RGB, or write that colour's value in data.nodata= if all its channels have one.",
                )
            return _as_read(header, header.nodata)
        return float(self.value) if header is None else _as_read(header, float(self.value))

    def filled(self, pixels: Pixels, held: float) -> tuple[Pixels, npt.NDArray[np.bool_] | None]:
        """Return an image (H, W, C) with the mean where it holds no data, and where that is: (H, W), None if nowhere.

        The image itself is not changed.
        """
        where = without_data(pixels, held)
        if not where.any():
            return pixels, None
        mean = np.array(self.mean) * PIXEL_RANGE[pixels.dtype]
        done = pixels.copy()
        done[where] = (mean if pixels.dtype.kind == "f" else mean.round()).astype(pixels.dtype)
        return done, where


def stated_nodata(path: Path) -> float | None:
    """Return the value, as pixels are read, that an image file states for those without data; None if it states none.

    A number that a palette gives a colour is no such value.

    Raises:
        ImageError: it is a TIFF whose header is damaged.
    """
    header = _tiff_header(path)
    if header is None or header.nodata is None or header.photometric == PALETTE:
        return None
    return _as_read(header, header.nodata)


def _tiff_header(path: Path) -> TiffHeader | None:
    return read_header(path) if path.suffix.lower() in TIFF else None


def _as_read(header: TiffHeader, value: float) -> float:
    """Return what a stored number becomes by the depth and the photometry that the file states (sample_values.py)."""
    if header.kind != "uint" or not 0 <= value <= header.top:
        return value
    whole = PIXEL_RANGE[np.dtype(np.uint8 if header.bits <= 8 else np.uint16)]
    scaled = float(np.rint(value * whole / header.top))
    return whole - scaled if header.photometric == WHITE_IS_ZERO else scaled


def without_data(pixels: Pixels, held: float) -> npt.NDArray[np.bool_]:
    """Return where an image (H, W, C) holds no data, (H, W) bool, given the value that it `held` there.

    Of floats one channel is enough, and nan counts as well: neither is ever measured. Of whole numbers all channels
    have to hold the value, as in the mask that GDAL makes of a file: black may be measured in one of them.
    """
    if pixels.dtype.kind == "f":
        nothing = np.isnan(pixels)
        with np.errstate(over="ignore"):  # of a double that a file of floats states, and holds as infinite
            nothing |= pixels == pixels.dtype.type(held)
        return np.asarray(nothing.any(-1))
    if not 0 <= held <= np.iinfo(pixels.dtype).max or held != int(held):  # nan too: no pixel can hold it
        return np.zeros(pixels.shape[:2], bool)
    return np.asarray((pixels == int(held)).all(-1))


def check_finite(name: object, pixels: Pixels, mend: str = "Give them a value, such as the mean.") -> None:
    """Raise ImageError if an image, called `name`, has values that are nan or infinite."""
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError(f"{name} has pixels that are no numbers.", mend)
