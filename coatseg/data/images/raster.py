"""Read TIFF of any number of bands and any size, and JPEG 2000, by rasterio, which reads a window without the rest.

A band is a channel, and so is an alpha band; masks beside the bands, nodata and overviews are ignored. rasterio comes
with `pip install "coatseg[geo]"`, and is imported only where it is needed.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coatseg.data.images.decoding import DAMAGED, unsupported
from coatseg.data.images.normalization import PIXEL_RANGE
from coatseg.data.images.tiff.header import read_header
from coatseg.errors import ImageError
from coatseg.structures import Pixels

# GDAL would list the folder, which may hold thousands of files, to look for files beside the one that it opens.
# Its cache of decoded blocks is limited to 256 MiB, a few rows of tiles; the default is a share of the machine's memory
# for each process.
_GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_CACHEMAX": 2**28}

LARGEST_BLOCK = 2**26
"""The most bytes of a tile or strip: with larger ones, reading a window costs too much of what surrounds it."""

JPEG_2000 = ".jp2"

# The compressions of a TIFF that not every build of GDAL decodes, by their numbers.
_CODECS = {
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34933: "PNG",
    34934: "JPEG XR",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}


@dataclass(frozen=True)
class Window:
    """A rectangle of an image: its corner at the top left, and its size, in pixels."""

    y: int
    x: int
    height: int
    width: int

    def cut(self, pixels: Pixels) -> Pixels:
        """Return the part of an image or map that lies in the window."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]


def read_raster(
    path: Path, bands: Sequence[int] | None = None, window: Window | None = None, pages: Sequence[int] = ()
) -> Pixels:
    """Read a TIFF as it is stored: (H, W, C) uint8, uint16 or float32.

    `bands` are counted from 1, and may come in any order; None reads all. With `pages`, the numbers of directories of
    one band each, these are the bands. A window must lie in the image.

    Raises:
        ImageError: rasterio is not installed; or the file lacks a band, has another pixel type or a compression that
            GDAL does not decode, or is damaged or cut short.
    """
    if not pages:
        with opened_raster(path) as raster:
            return read_bands(path, raster, bands, window)
    check_bands(path, len(pages), bands)
    planes = []
    for page in pages if bands is None else [pages[band - 1] for band in bands]:
        with opened_raster(path, page=page) as raster:
            planes.append(read_bands(path, raster, [1], window))
    return np.concatenate(planes, axis=2)


def read_band(path: Path, window: Window | None = None, band: int = 1, page: int = 1) -> Pixels:
    """Read one band of a page of a TIFF as it is stored, of any type: (H, W).

    Raises:
        ImageError: rasterio is not installed, or the file is damaged or cut short.
    """
    with opened_raster(path, page=page) as raster:
        return _read(path, raster, [band], window)[..., 0]


def read_bands(path: Path, raster: Any, bands: Sequence[int] | None, window: Window | None) -> Pixels:
    """Read bands of an opened raster: (H, W, C) uint8, uint16 or float32; see `read_raster`."""
    dtype = np.dtype(raster.dtypes[0])
    if dtype not in PIXEL_RANGE:
        raise unsupported(path, dtype)
    check_bands(path, raster.count, bands)
    return _read(path, raster, list(bands or raster.indexes), window)


def has_small_blocks(path: Path) -> bool:
    """Return whether the tiles or strips of a raster are small enough to read one for a window of it.

    Raises:
        ImageError: as `opened_raster`.
    """
    with opened_raster(path) as raster:
        height, width = raster.block_shapes[0]
        return bool(height * width * raster.count * np.dtype(raster.dtypes[0]).itemsize <= LARGEST_BLOCK)


def check_bands(path: Path, stored: int, bands: Sequence[int] | None) -> None:
    """Raise ImageError if a file with `stored` bands lacks one of `bands`."""
    beyond = [band for band in bands or () if band > stored]
    if beyond:
        raise ImageError(
            f"{path} has {stored} band{'s' * (stored != 1)}, and data.bands asks for {beyond[0]}.",
            f"Bands are counted from 1, as GDAL counts: choose from 1 to {stored}.",
        )


def import_rasterio(need: str) -> Any:
    """Import rasterio and return the module.

    Raises:
        ImageError: it is not installed; `need` says what it is needed for.
    """
    try:
        import rasterio
    except ImportError as error:
        raise ImageError(need, 'Install rasterio with: pip install "coatseg[geo]"') from error
    return rasterio


@contextmanager
def opened_raster(path: Path, page: int = 1) -> Iterator[Any]:
    """Open a TIFF or a JPEG 2000 file by rasterio; its errors, also those within the context, become ImageError.

    `page` is the number of a directory of a TIFF.
    """
    jpeg_2000 = path.suffix.lower() == JPEG_2000
    rasterio = import_rasterio(
        f"{path} is a JPEG 2000 file, which only rasterio reads."
        if jpeg_2000
        else f"{path} is a TIFF that only rasterio reads: for its bands, compression or size, or by windows."
    )
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)  # its errors are raised as well
    address = path if page == 1 else f"GTIFF_DIR:{page}:{path}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            driver = "JP2OpenJPEG" if jpeg_2000 else "GTiff"
            with rasterio.Env(**_GDAL), rasterio.open(address, driver=driver) as raster:
                yield raster
    except rasterio.errors.RasterioError as error:
        reason = str(error.__cause__ or error).removesuffix(".")
        if "missing codec" in reason and (header := read_header(path)):
            codec = _CODECS.get(header.compression, f"codec {header.compression}")
            raise ImageError(
                f"{path} is compressed by {codec}, which this build of GDAL does not decode.",
                "Save it with deflate, LZW or Zstandard.",
            ) from error
        raise ImageError(f"{path} cannot be decoded: {reason}.", DAMAGED) from error


def _read(path: Path, raster: Any, bands: list[int], window: Window | None) -> Pixels:
    from rasterio.windows import Window as Rectangle

    place = window or Window(0, 0, raster.height, raster.width)
    if place.y + place.height > raster.height or place.x + place.width > raster.width:
        raise ValueError(f"{place} is not in {path}, which is {raster.height}x{raster.width}")
    pixels = np.empty((place.height, place.width, len(bands)), raster.dtypes[0])
    # Into a view with channels-last strides: no second copy of a large image.
    raster.read(bands, window=Rectangle(place.x, place.y, place.width, place.height), out=pixels.transpose(2, 0, 1))
    return pixels
