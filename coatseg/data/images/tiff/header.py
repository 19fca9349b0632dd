"""Read what the directories of a TIFF state of its pages, without decoding any pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from coatseg.data.images.decoding import DAMAGED, ON_THEIR_SIDE, unreadable
from coatseg.errors import ImageError
from coatseg.structures import Size

# The first four bytes of classic and of big TIFF, in both byte orders.
_CLASSIC, _BIG = (b"II*\0", b"MM\0*"), (b"II+\0", b"MM\0+")
_UNREAD = _BIG[1]  # Pillow takes it for classic

# Numbers of the TIFF 6.0 specification: of its tags, and of the values that they hold. The nodata value is GDAL's.
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_DESCRIPTION, _ORIENTATION, _SAMPLES, _PLANAR, _NODATA = 270, 274, 277, 284, 42113
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 273, 279, 324, 325, 338, 339
MAXIMA = (281, 341)
"""The tags MaxSampleValue and SMaxSampleValue."""
_SUBFILE_TYPE, _OLD_SUBFILE_TYPE, _REDUCED, _MASK, _OLD_REDUCED = 254, 255, 1, 4, 2
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, MASK, CMYK, YCBCR = range(7)
JPEG = 7
_ASSOCIATED, _UNASSOCIATED = ALPHAS = 1, 2
_FORMATS = {1: "uint", 2: "int", 3: "float", 4: "uint", 5: "complex int", 6: "complex"}
_DEPTHS_IN_16 = frozenset(2**bits - 1 for bits in range(8, 16))


@dataclass(frozen=True)
class TiffHeader:
    """What the directories of a TIFF state of its first page, and how many pages there are.

    `size` is as stored, before `orientation` (1 to 8) is applied; `kind` is uint, int, float, complex or another one
    that no image has, and `bits` is the depth of a channel. `top` is the greatest number that an integer channel may
    hold: that of its bits, or of a lower depth if the file states one. `alpha` means that the last channel says that it
    is alpha, `premultiplied` that the others were multiplied by it.

    `pages` are the numbers, counted from 1, of the directories that hold an image of full size: reduced images, masks
    of transparency and thumbnails are no pages. `alike` means that all of them have one size, type and number of
    channels. `length` is the file's, in bytes, and `first` the first directory as Pillow read it.
    """

    size: Size
    channels: int
    kind: str
    bits: int
    top: int
    compression: int
    photometric: int
    orientation: int
    contiguous: bool
    alpha: bool
    premultiplied: bool
    nodata: float | None
    description: str
    pages: tuple[int, ...]
    alike: bool
    length: int
    first: ImageFileDirectory_v2 = field(repr=False, compare=False)

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
        """Whether an image's pixels follow from the numbers stored at their positions, so that windows can be read."""
        by_codec = self.photometric == YCBCR and self.compression == JPEG
        plain = self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB) and not self.premultiplied
        return self.orientation == 1 and (plain or by_codec) and self.bits >= 8

    @property
    def labels_are_as_stored(self) -> bool:
        """Whether `is_as_stored` holds for the pixels as class numbers, to which a palette is not applied."""
        return self.orientation == 1 and self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE) and self.bits >= 8


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
        directories = _directories(path, file)
        if directories is None:
            return None
        try:
            return _header(directories, path.stat().st_size)
        except Exception as error:  # a directory may hold anything where bytes make no sense
            raise _damaged(path) from error


def is_sparse(path: Path, header: TiffHeader) -> bool:
    """Return whether a TIFF leaves out some blocks of its first page, where pixels are nodata or 0.

    Raises:
        ImageError: its list of blocks is damaged.
    """
    return _is_sparse(path, header.first)


def _is_sparse(path: Path, directory: ImageFileDirectory_v2) -> bool:
    try:
        offsets, counts = (np.array(_all(directory, tag, 1)) for tag in _blocks(directory))
        at_zero = bool(((offsets == 0) & (counts > 0)).any())
    except Exception as error:  # as above
        raise _damaged(path) from error
    if at_zero:  # GDAL would read the header as pixels
        raise ImageError(f"{path} states that pixels begin at byte 0, where its header is.", DAMAGED)
    return bool((counts == 0).any())


def check_length(path: Path) -> None:
    """Check without decoding that a TIFF holds all of its pixels; other files pass.

    Raises:
        ImageError: the file or its header is cut short.
    """
    with path.open("rb") as file:
        directories, there = _directories(path, file), path.stat().st_size
    if directories is None:
        return
    _is_sparse(path, directories[0])
    try:
        end = max(_end(directories[page - 1]) for page in _pages(directories))
    except Exception as error:  # as above
        raise _damaged(path) from error
    if end > there:
        raise ImageError(f"{path} has {there} bytes, and its pixels end at byte {end}.", DAMAGED)


def _damaged(path: Path) -> ImageError:
    return ImageError(f"The TIFF header of {path} cannot be read.", DAMAGED)


def _directories(path: Path, file: BinaryIO) -> list[ImageFileDirectory_v2] | None:
    """Read all directories of a TIFF, in the order of their chain; None if the file is no TIFF."""
    begin = file.read(8)
    if begin[:4] not in (*_CLASSIC, *_BIG):
        return None
    if begin[:4] == _UNREAD:
        raise ImageError(
            f"{path} is a big TIFF in big-endian order, which is not read.", "Convert it, as `gdal_translate` does."
        )
    begin += file.read(8) if begin[:4] == _BIG[0] else b""
    found: dict[int, ImageFileDirectory_v2] = {}
    try:
        place = ImageFileDirectory_v2(begin).next
        while place and place not in found:  # a damaged chain may be a ring
            found[place] = ImageFileDirectory_v2(begin)
            file.seek(place)
            found[place].load(file)
            place = found[place].next
    except Exception as error:  # Pillow's parser may raise any error when bytes make no sense
        raise _damaged(path) from error
    return list(found.values())


def _header(directories: Sequence[ImageFileDirectory_v2], length: int) -> TiffHeader:
    first = directories[0]
    kind, bits = _type(first)
    extra = _all(first, _EXTRA_SAMPLES, 0)
    pages = _pages(directories)
    shapes = {(_size(one), one.get(_SAMPLES, 1), _type(one)) for one in (directories[page - 1] for page in pages)}
    return TiffHeader(
        size=_size(first),
        channels=int(first.get(_SAMPLES, 1)),
        kind=kind,
        bits=bits,
        top=greatest_sample(bits, (value for tag in MAXIMA for value in _all(first, tag, 0))),
        compression=int(first.get(_COMPRESSION, 1)),
        photometric=int(first.get(_PHOTOMETRIC, BLACK_IS_ZERO)),
        orientation=int(first.get(_ORIENTATION, 1)),
        contiguous=first.get(_PLANAR, 1) == 1,
        alpha=extra[-1] in (_ASSOCIATED, _UNASSOCIATED),
        premultiplied=_ASSOCIATED in extra,
        nodata=_number(first.get(_NODATA, "")),
        description=str(first.get(_DESCRIPTION, "")).strip("\0 \n"),
        pages=pages,
        alike=len(shapes) == 1,
        length=length,
        first=first,
    )


def _size(directory: ImageFileDirectory_v2) -> Size:
    return int(directory[_HEIGHT]), int(directory[_WIDTH])


def _type(directory: ImageFileDirectory_v2) -> tuple[str, int]:
    bits, formats = (_all(directory, tag, 1) for tag in (_BITS, _SAMPLE_FORMAT))
    alike = len(set(bits)) == len(set(formats)) == 1
    return _FORMATS.get(formats[0], "unknown") if alike else "mixed", max(bits)


def greatest_sample(bits: int, maxima: Iterable[int]) -> int:
    """Return the greatest number that an integer of so many bits may hold, given the `maxima` that a file states.

    Some programs state the greatest value that they found, which is no depth: only those of 8 to 15 bits are one.
    """
    stated = {*maxima} - {0}
    depth = stated.pop() if len(stated) == 1 else 0
    return depth if bits == 16 and depth in _DEPTHS_IN_16 else 2**bits - 1


def _pages(directories: Sequence[ImageFileDirectory_v2]) -> tuple[int, ...]:
    """Return the numbers of the directories that hold an image of full size; the first always counts."""
    first = _size(directories[0])
    return (1, *(number for number, one in enumerate(directories[1:], 2) if _is_page(one, first)))


def _is_page(directory: ImageFileDirectory_v2, first: Size) -> bool:
    if directory.get(_SUBFILE_TYPE, 0) & (_REDUCED | _MASK) or directory.get(_PHOTOMETRIC) == MASK:
        return False
    if directory.get(_OLD_SUBFILE_TYPE) == _OLD_REDUCED:
        return False
    # Slide scanners do not mark the levels of their pyramids: these are smaller, in the same proportions.
    (height, width), (full_height, full_width) = _size(directory), first
    proportionate = abs(height * full_width - width * full_height) <= 0.01 * height * full_width + full_width
    return not (height < full_height and width < full_width and proportionate)


def _blocks(directory: ImageFileDirectory_v2) -> tuple[int, int]:
    return (_TILES, _TILE_BYTES) if _TILES in directory else (_STRIPS, _STRIP_BYTES)


def _end(directory: ImageFileDirectory_v2) -> int:
    offsets, counts = (np.array(_all(directory, tag, 0), np.int64) for tag in _blocks(directory))
    return int((offsets + counts).max())


def _number(text: object) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def _all(directory: ImageFileDirectory_v2, tag: int, default: int) -> tuple[int, ...]:
    value: Any = directory.get(tag, default)
    return tuple(value) if isinstance(value, tuple) else (int(value),)
