"""Read the header of a TIFF, to know its pixels without decoding any and which library reads them correctly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from coatseg.data.images.decoding import DAMAGED, LABEL_MODES, ON_THEIR_SIDE, open_image, unreadable
from coatseg.errors import ImageError
from coatseg.structures import Size

Found = TypeVar("Found")

# The first four bytes of classic and of big TIFF, in both byte orders.
_CLASSIC, _BIG = (b"II*\0", b"MM\0*"), (b"II+\0", b"MM\0+")
_UNREAD = _BIG[1]  # Pillow takes it for classic

# Numbers of the TIFF 6.0 specification: of its tags, and of the values that they hold. The nodata value is GDAL's.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_ORIENTATION, _SAMPLES, _PLANAR = 274, 277, 284
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 273, 279, 324, 325, 338, 339
_NODATA = 42113
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
JPEG, _PREMULTIPLIED = 7, 1
_FORMATS = {1: "uint", 2: "int", 3: "float", 4: "uint", 5: "complex int", 6: "complex"}

# None, LZW, deflate in both numberings, PackBits: what OpenCV's builds decode. Then the numbers of channels that it
# reads correctly and in order, for each (type, photometric interpretation).
_OPENCV_COMPRESSIONS = frozenset({1, 5, 8, 32946, 32773})
_OPENCV_CHANNELS = {
    ("uint16", _BLACK_IS_ZERO): {1},
    ("uint16", _WHITE_IS_ZERO): {1},
    ("uint16", _RGB): {3, 4},
    ("float32", _BLACK_IS_ZERO): {1, 3, 4},
    ("float32", _RGB): {3, 4},
}


@dataclass(frozen=True)
class TiffHeader:
    """What the header of a TIFF states about its first page.

    `size` is as stored, before `orientation` (1 to 8) is applied; `kind` is uint, int, float, complex or another one
    that no image has, and `bits` is the depth of a channel. `nodata` is what pixels without data hold, if it is stated.
    """

    size: Size
    channels: int
    kind: str
    bits: int
    compression: int
    photometric: int
    orientation: int
    contiguous: bool
    premultiplied: bool
    nodata: float | None = None

    @property
    def dtype(self) -> str:
        """The name of the pixels' type, such as uint16."""
        return f"{self.kind}{self.bits}"

    @property
    def is_image(self) -> bool:
        """Whether these are pixels of a type that an image may have."""
        return self.dtype == "float32" or (self.kind == "uint" and self.bits <= 16)

    @property
    def upright_size(self) -> Size:
        """The (height, width) after `orientation`."""
        height, width = self.size
        return (width, height) if self.orientation in ON_THEIR_SIDE else (height, width)

    @property
    def is_as_stored(self) -> bool:
        """Whether an image's pixels are the stored numbers at their stored positions, so that windows can be read."""
        by_codec = self.photometric == _YCBCR and self.compression == JPEG
        plain = self.photometric in (_BLACK_IS_ZERO, _RGB) and not self.premultiplied
        return self.orientation == 1 and (plain or by_codec) and self.bits >= 8

    @property
    def labels_are_as_stored(self) -> bool:
        """Whether `is_as_stored` holds for the pixels as class numbers, to which a palette is not applied."""
        return self.orientation == 1 and self.photometric in (_BLACK_IS_ZERO, _PALETTE) and self.bits >= 8


def read_header(path: Path) -> TiffHeader | None:
    """Read the header of a TIFF; None if the file is no TIFF.

    Raises:
        ImageError: there is no such file, or its header is damaged.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from error
    with file:
        return _read(path, file, _header)


def check_length(path: Path) -> None:
    """Check without decoding that a TIFF holds all of its pixels; other files pass.

    Raises:
        ImageError: the file or its header is cut short.
    """
    with path.open("rb") as file:
        end, there = _read(path, file, _end), path.stat().st_size
    if end is not None and end > there:
        raise ImageError(f"{path} has {there} bytes, and its pixels end at byte {end}.", DAMAGED)


def is_plain_tiff(path: Path, header: TiffHeader, channels: int | None) -> bool:
    """Return whether Pillow or OpenCV reads a whole TIFF correctly, as `channels` (None: as many as it has).

    For many TIFF files that they do not know, both silently return one channel too few, or wrong ones.
    """
    if _is_too_large(header):
        return False
    if header.bits >= 16:
        readable = _OPENCV_CHANNELS.get((header.dtype, header.photometric), ())
        return header.contiguous and header.compression in _OPENCV_COMPRESSIONS and header.channels in readable
    with path.open("rb") as file:
        opened = open_image(path, file)
        shown = len(opened.getbands()) if opened is not None else 0
        same = shown == header.channels and (header.contiguous or shown != 2)
        # Pillow omits a fourth channel whose meaning is not stated, and it is not needed where three are wanted.
        return same or (shown, header.channels, channels) == (3, 4, 3)


def is_plain_map(path: Path, header: TiffHeader) -> bool:
    """Return whether Pillow reads a whole TIFF of class numbers correctly."""
    if _is_too_large(header) or header.dtype == "int8" or not (header.contiguous or header.bits <= 8):
        return False
    with path.open("rb") as file:
        opened = open_image(path, file)
        return opened is not None and opened.mode in LABEL_MODES


def _is_too_large(header: TiffHeader) -> bool:
    """Return whether a TIFF has more pixels than Pillow opens."""
    limit = Image.MAX_IMAGE_PIXELS
    return limit is not None and header.size[0] * header.size[1] > 2 * limit


def _read(path: Path, file: BinaryIO, find: Callable[[ImageFileDirectory_v2], Found]) -> Found | None:
    begin = file.read(8)
    if begin[:4] not in (*_CLASSIC, *_BIG):
        return None
    if begin[:4] == _UNREAD:
        raise ImageError(
            f"{path} is a big TIFF in big-endian order, which is not read.", "Convert it, as `gdal_translate` does."
        )
    try:
        directory = ImageFileDirectory_v2(begin + file.read(8) if begin[:4] == _BIG[0] else begin)
        file.seek(directory.next)
        directory.load(file)
        return find(directory)
    except Exception as error:  # Pillow's parser may raise any error when bytes make no sense
        raise ImageError(f"The TIFF header of {path} cannot be read.", DAMAGED) from error


def _header(directory: ImageFileDirectory_v2) -> TiffHeader:
    bits, formats = (_all(directory, tag, 1) for tag in (_BITS, _SAMPLE_FORMAT))
    alike = len(set(bits)) == len(set(formats)) == 1
    return TiffHeader(
        size=(int(directory[_HEIGHT]), int(directory[_WIDTH])),
        channels=int(directory.get(_SAMPLES, 1)),
        kind=_FORMATS.get(formats[0], "unknown") if alike else "mixed",
        bits=max(bits),
        compression=int(directory.get(_COMPRESSION, 1)),
        photometric=int(directory.get(_PHOTOMETRIC, _BLACK_IS_ZERO)),
        orientation=int(directory.get(_ORIENTATION, 1)),
        contiguous=directory.get(_PLANAR, 1) == 1,
        premultiplied=_PREMULTIPLIED in _all(directory, _EXTRA_SAMPLES, 0),
        nodata=_number(directory.get(_NODATA, "")),
    )


def _end(directory: ImageFileDirectory_v2) -> int:
    places, lengths = (_TILES, _TILE_BYTES) if _TILES in directory else (_STRIPS, _STRIP_BYTES)
    offsets, counts = (np.array(_all(directory, tag, 0), np.int64) for tag in (places, lengths))
    return int((offsets + counts).max())


def _number(text: Any) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def _all(directory: ImageFileDirectory_v2, tag: int, default: int) -> tuple[int, ...]:
    value: Any = directory.get(tag, default)
    return tuple(value) if isinstance(value, tuple) else (int(value),)
