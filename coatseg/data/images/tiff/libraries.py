"""Say which library reads a TIFF correctly: Pillow and OpenCV silently read many as something else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from PIL import Image

from coatseg.data.images.decoding import LABEL_MODES, open_image
from coatseg.data.images.tiff.header import (
    BLACK_IS_ZERO,
    JPEG,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    TiffHeader,
    is_sparse,
)
from coatseg.errors import ImageError

# None, LZW, deflate in both numberings, PackBits: what OpenCV's builds decode. Pillow's decode three of fax, JPEG in
# both numberings, LZMA and Zstandard as well, but not WebP, although it names it.
_OPENCV_COMPRESSIONS = frozenset({1, 5, 8, 32946, 32773})
_PILLOW_COMPRESSIONS = _OPENCV_COMPRESSIONS | {2, 3, 4, 6, 7, 34925, 50000}

# The numbers of channels that OpenCV reads correctly and in order, for each (type, photometric interpretation).
_OPENCV_CHANNELS = {
    ("uint16", BLACK_IS_ZERO): {1},
    ("uint16", RGB): {3, 4},
    ("float32", BLACK_IS_ZERO): {1, 3, 4},
    ("float32", RGB): {3, 4},
}

_COLOURS = {3: "a palette", 4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "L*a*b*", 9: "L*a*b*", 10: "L*a*b*"}


def is_plain_tiff(path: Path, header: TiffHeader) -> bool:
    """Return whether Pillow or OpenCV reads a whole TIFF of one page correctly, with all of its channels."""
    if _is_too_large(header) or is_sparse(path, header):
        return False
    if header.bits >= 16:
        readable = _OPENCV_CHANNELS.get((header.dtype, header.photometric), ())
        return header.contiguous and header.compression in _OPENCV_COMPRESSIONS and header.channels in readable
    if header.compression not in _PILLOW_COMPRESSIONS or _is_smoothed(header):
        return False
    with path.open("rb") as file:
        opened = open_image(path, file)
        shown = len(opened.getbands()) if opened is not None else 0
        return shown == header.channels and (header.contiguous or shown != 2)


def is_plain_map(path: Path, header: TiffHeader) -> bool:
    """Return whether Pillow reads a whole TIFF of class numbers correctly."""
    if _is_too_large(header) or is_sparse(path, header) or header.kind == "float" or header.dtype == "int8":
        return False
    # Pillow shows WhiteIsZero as it looks, which turns class numbers around, and 2 or 4 bits of grey as 0 to 255.
    scaled = 1 < header.bits < 8 and header.photometric != PALETTE
    if header.photometric == WHITE_IS_ZERO or scaled or header.compression not in _PILLOW_COMPRESSIONS:
        return False
    if not (header.contiguous or header.bits <= 8):
        return False
    with path.open("rb") as file:
        opened = open_image(path, file)
        return opened is not None and opened.mode in LABEL_MODES


def check_colours(path: Path, header: TiffHeader) -> None:
    """Raise ImageError if rasterio would read the colours of a TIFF as something else than they are."""
    by_codec = header.photometric == YCBCR and header.compression == JPEG
    if header.photometric in (BLACK_IS_ZERO, RGB) or by_codec:
        return
    if header.photometric == WHITE_IS_ZERO:
        if header.channels == 1 and header.kind == "uint":
            return
        raise ImageError(
            f"{path} is white where its {header.dtype} pixels are zero, which is read of one integer channel only.",
            "Save it with black as zero (photometric=minisblack).",
        )
    raise ImageError(
        f"{path} is a TIFF of {_COLOURS.get(header.photometric, f'photometric {header.photometric}')}, "
        "which is not read with its size, depth or compression.",
        "Convert it to grey or RGB.",
    )


def _is_smoothed(header: TiffHeader) -> bool:
    """Return whether rasterio, if it is there, smooths the colours of a JPEG, which are stored at half the size.

    Pillow repeats them, and an image is the same read whole and by windows.
    """
    by_codec = header.photometric == YCBCR and header.compression == JPEG
    return by_codec and importlib.util.find_spec("rasterio") is not None


def _is_too_large(header: TiffHeader) -> bool:
    """Return whether a TIFF has more pixels than Pillow opens."""
    limit = Image.MAX_IMAGE_PIXELS
    return limit is not None and header.size[0] * header.size[1] > 2 * limit
