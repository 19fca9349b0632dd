"""Decide what several pages of a TIFF are: the channels of one image, or images that are not read as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coatseg.data.images.tiff.descriptions import StatedPages, stated_pages
from coatseg.data.images.tiff.header import TiffHeader
from coatseg.errors import ImageError

_ONE_A_FILE = "save each page that you want as a file of its own."


def channel_pages(
    path: Path, header: TiffHeader, channels: int | None, bands: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Return the numbers of the pages that are the channels of an image, in their order; () if there is one page.

    Pages are channels where their description says so (OME, ImageJ, tifffile). Where none says what they are, those of
    one band each are channels if there are as many as `channels`, or if `bands` chooses from them.

    Raises:
        ImageError: the file has several pages that are something else, or that nothing says to be channels.
    """
    count, stated = len(header.pages), listed_pages(path, header)
    if count == 1:
        return ()
    if not header.alike or header.channels > 1:
        kind = f"of {header.channels} channels each" if header.alike else "of different sizes or types"
        raise ImageError(f"{path} has {count} pages {kind}; an image has one.", _ONE_A_FILE.capitalize())
    if stated is not None and stated.are_named and stated.count > 1:
        return _ordered(path, header, stated)
    chosen = channels == count if bands is None else max(bands, default=0) <= count
    if not chosen:
        raise ImageError(
            f"{path} has {count} pages, and does not say whether they are channels.",
            f"Set data.channels={count} if they are, or {_ONE_A_FILE}",
        )
    return header.pages


def listed_pages(path: Path, header: TiffHeader) -> StatedPages | None:
    """Return what the description of a TIFF states of its pages, None if that is nothing.

    Raises:
        ImageError: it states more pages than there are directories: ImageJ writes one for a stack of more than 4 GB.
    """
    count = len(header.pages)
    if count == 1 and not _has_room(header, 2):
        return None
    stated = stated_pages(header.description)
    if stated is not None and stated.count > count and _has_room(header, stated.count):
        raise ImageError(
            f"{path} states {stated.words}, and lists {count}.",
            "Save it with a directory for each page, as tifffile and Bio-Formats do.",
        )
    return stated


def _ordered(path: Path, header: TiffHeader, stated: StatedPages) -> tuple[int, ...]:
    count = len(header.pages)
    if not stated.are_channels or stated.count != count:
        raise ImageError(f"{path} has {count} pages, and states {stated.words}.", _ONE_A_FILE.capitalize())
    return tuple(header.pages[place] for place in stated.order) or header.pages


def _has_room(header: TiffHeader, pages: int) -> bool:
    """Return whether a file is long enough for so many pages: a description may be left from another file."""
    height, width = header.size
    return header.length >= pages * height * width * header.channels * header.bits // 8
