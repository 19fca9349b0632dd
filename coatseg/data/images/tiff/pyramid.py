"""The levels of a whole-slide image or another pyramid in TIFF, and windows of them, by tifffile.

tifffile knows which pages of a slide are levels of the image, and which its label, macro and thumbnail. Only the tiles
under a window are decoded, and pixels are those that are stored. It comes with `pip install "coatseg[slides]"`, and is
imported only where it is needed.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from coatseg.data.images.decoding import DAMAGED, unreadable
from coatseg.data.images.raster import Window
from coatseg.data.images.tiff.header import ALPHAS, MAXIMA, greatest_sample
from coatseg.errors import ImageError
from coatseg.structures import Pixels, Size

MEND = "Save it as a pyramid of tiled TIFF in RGB; or set level=0 for files that have no levels."

# Numbers of the TIFF specification: compressions, photometric interpretations, and units of resolution.
_JPEG = frozenset({7, 33007, 34892})
_APERIO_YCBCR = 33003  # JPEG 2000 whose colours tifffile does not convert
_LOSSLESS = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})  # none, LZW, deflate, PackBits, LZMA, zstd
_BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 1, 2, 3, 6
_MICRONS = {2: 25400.0, 3: 10000.0, 4: 1000.0, 5: 1.0}


@dataclass(frozen=True)
class Pyramid:
    """An opened pyramid: (height, width) of its levels, the finest first, and their microns a pixel, 0 if not stated.

    `pages` are those of tifffile, in the same order.
    """

    path: Path
    pages: tuple[Any, ...]
    sizes: tuple[Size, ...]
    microns: tuple[float, ...]
    axes: str

    @property
    def is_image(self) -> bool:
        """Whether its pixels, once decoded, are grey or RGB, and upright."""
        return self.axes in ("YX", "YXS") and self._is_upright and all(map(_is_plain, self.pages))

    @property
    def is_map(self) -> bool:
        """Whether its pixels are whole numbers, one each, as they were written."""
        photometric, compression = int(self.pages[0].photometric), int(self.pages[0].compression)
        numbers = photometric in (_BLACK_IS_ZERO, _PALETTE) and self.dtype.kind in "uif"
        return self.axes == "YX" and self._is_upright and numbers and compression in _LOSSLESS

    @property
    def alpha(self) -> bool:
        """Whether its last channel says that it is alpha."""
        extra = self.pages[0].extrasamples
        return bool(extra) and int(extra[-1]) in ALPHAS

    @property
    def top(self) -> int:
        """The greatest number that an integer channel may hold, by the depth that it states."""
        page = self.pages[0]
        maxima = (page.tags.valueof(tag, default=0) for tag in MAXIMA)
        flat = (one for value in maxima for one in (value if isinstance(value, tuple) else (value,)))
        return greatest_sample(int(page.bitspersample), flat)

    @property
    def _is_upright(self) -> bool:
        return bool(self.pages[0].tags.valueof("Orientation", default=1) == 1)

    @property
    def kind(self) -> str:
        """What its pixels are, in words."""
        page = self.pages[0]
        turned = "" if self._is_upright else ", stored on their side or mirrored"
        colours, codec = page.photometric.name, page.compression.name
        return f"{self.dtype} pixels of axes {self.axes}, {colours}, compressed by {codec}{turned}"

    @property
    def channels(self) -> int:
        """How many channels its pixels have."""
        return int(self.pages[0].shaped[-1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of its pixels."""
        dtype: np.dtype[Any] = np.dtype(self.pages[0].dtype)
        return dtype

    @property
    def words(self) -> str:
        """The levels, in words."""
        stated = (f", {microns:.4g} microns a pixel" if microns else "" for microns in self.microns)
        levels = zip(self.sizes, stated, strict=True)
        return "; ".join(f"{number}: {height}x{width}{more}" for number, ((height, width), more) in enumerate(levels))

    def read(self, level: int, window: Window | None = None) -> Pixels:
        """Read a level, or a window of it in the level's pixels: (H, W, C). A tile that is not stored is zero.

        Raises:
            ImageError: it is damaged, cut short, or of a codec that is not known.
        """
        page, (height, width) = self.pages[level], self.sizes[level]
        place = window or Window(0, 0, height, width)
        if place.y + place.height > height or place.x + place.width > width:
            raise ValueError(f"{place} is not in {self.path}, which is {height}x{width}")
        pixels = np.zeros((place.height, place.width, self.channels), self.dtype)
        try:
            for tile, (y, x) in _tiles(page, place):
                top, left = max(y, place.y), max(x, place.x)
                piece = tile[top - y : place.y + place.height - y, left - x : place.x + place.width - x]
                rows, columns = piece.shape[:2]
                pixels[top - place.y :, left - place.x :][:rows, :columns] = piece
        except Exception as error:  # its decoders may raise any error when bytes make no sense
            raise ImageError(f"{self.path} cannot be decoded: {error}.", DAMAGED) from error
        return pixels


def _tiles(page: Any, place: Window) -> Any:
    """Yield the stored tiles, or strips, that a window of a page touches, (h, w, C), with their corners (y, x)."""
    height, width = page.chunks[:2]
    columns = page.chunked[1]
    rows = range(place.y // height, (place.y + place.height - 1) // height + 1)
    across = range(place.x // width, (place.x + place.width - 1) // width + 1)
    wanted = [row * columns + column for row in rows for column in across]
    keyframe = page.keyframe
    tables = {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader} if keyframe.compression in _JPEG else {}
    offsets, counts = ([numbers[place] for place in wanted] for numbers in (page.dataoffsets, page.databytecounts))
    for content, index in page.parent.filehandle.read_segments(offsets, counts, wanted):
        if content is not None:
            tile, (_, _, y, x, _), _ = keyframe.decode(content, index, **tables)
            yield tile[0], (y, x)


def open_pyramid(path: Path) -> Pyramid:
    """Open a pyramid, or take it from the few that this process has open.

    Raises:
        ImageError: there is no such file, tifffile is not installed, or it has no levels.
    """
    try:
        stated = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return _open(path, stated.st_mtime_ns, stated.st_size, os.getpid())


@lru_cache(maxsize=16)
def _open(path: Path, modified: int, size: int, process: int) -> Pyramid:
    """Open a file as it is now; a process does not share its handles with those that it is forked into."""
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(
            f"{path} is read by the library tifffile.", 'Install it with: pip install "coatseg[slides]"'
        ) from error
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it cannot read is raised, and tags are read here
    try:
        file = tifffile.TiffFile(path)
        file.filehandle.set_lock(True)  # several threads may read windows
        levels = file.series[0].levels
        pages = tuple(level.keyframe for level in levels)
        sizes = tuple((int(page.imagelength), int(page.imagewidth)) for page in pages)
        microns = _microns(file, pages[0])
    except Exception as error:  # as in Pyramid.read
        raise ImageError(f"{path} is no TIFF that has levels: {error}.", MEND) from error
    area = sizes[0][0] * sizes[0][1]
    scaled = tuple(microns * (area / (rows * columns)) ** 0.5 for rows, columns in sizes)
    return Pyramid(path, pages, sizes, scaled, levels[0].axes)


def _is_plain(page: Any) -> bool:
    """Return whether a level's pixels are grey or RGB once they are decoded."""
    photometric, compression = int(page.photometric), int(page.compression)
    if photometric == _YCBCR:
        return compression in _JPEG
    return photometric in (_BLACK_IS_ZERO, _RGB) and compression != _APERIO_YCBCR


def _microns(file: Any, page: Any) -> float:
    """Return the microns a pixel of full resolution: as Aperio describes it, or by the tags of resolution; else 0."""
    if file.is_svs:
        from tifffile.tifffile import svs_description_metadata

        if stated := svs_description_metadata(page.description).get("MPP"):
            return float(stated)
    unit, across, down = (page.tags.valueof(tag) for tag in ("ResolutionUnit", "XResolution", "YResolution"))
    if unit is None or int(unit) not in _MICRONS or across is None or down is None or 0 in (*across, *down):
        return 0.0
    return float(_MICRONS[int(unit)] * (across[1] / across[0] * down[1] / down[0]) ** 0.5)
