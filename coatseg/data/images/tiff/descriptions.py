"""What the pages of a TIFF are, by the description that a microscope's software leaves in it: OME, ImageJ, tifffile.

Sources: the OME-TIFF specification (docs.openmicroscopy.org), ImageJ's ij.io.FileInfo and TiffEncoder, and the
"shaped" series of tifffile's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from xml.etree import ElementTree

CHANNELS = "channels"
_OF_AXES = {"C": CHANNELS, "Z": "slices", "T": "time points", "R": "images"}
_OF_IMAGEJ = {CHANNELS: CHANNELS, "slices": "slices", "frames": "time points"}
_WITHIN_A_PAGE = "YXS"
_PAGES = "pages"


@dataclass(frozen=True)
class StatedPages:
    """What pages are said to be: how many there are along each of `axes`, such as {"channels": 4, "slices": 1}.

    The only axis is "pages" where their number is stated, and not what they are. `order` is the place of each channel
    among the pages, counted from 0, if that is stated.
    """

    axes: dict[str, int]
    order: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many pages are stated."""
        return prod(self.axes.values())

    @property
    def are_named(self) -> bool:
        """Whether it is stated what they are."""
        return _PAGES not in self.axes

    @property
    def are_channels(self) -> bool:
        """Whether the pages are the channels of one image."""
        return all(count == 1 for axis, count in self.axes.items() if axis != CHANNELS)

    @property
    def words(self) -> str:
        """What the pages are, such as "2 channels x 10 slices"."""
        return " x ".join(f"{count} {axis}" for axis, count in self.axes.items() if count > 1)


def stated_pages(description: str) -> StatedPages | None:
    """Return what the description of a TIFF states of its pages; None if it states nothing of them."""
    for begin, read in _DIALECTS.items():
        if description.startswith(begin):
            try:
                return read(description)
            except (ElementTree.ParseError, KeyError, TypeError, ValueError):  # a description may be any text
                return None
    return None


def _of_ome(description: str) -> StatedPages | None:
    # Pillow decodes tags as Latin-1, and the XML is UTF-8.
    images = _named(ElementTree.fromstring(description.encode("latin-1")), "Image")
    if not images:  # the metadata are in another file
        return None
    if len(images) > 1:
        return StatedPages({"images": len(images)})
    pixels = _named(images[0], "Pixels")[0]
    samples = [int(channel.get("SamplesPerPixel", 1)) for channel in _named(pixels, "Channel")]
    channels = int(pixels.attrib["SizeC"])
    pages = len(samples) if sum(samples) == channels else channels
    axes = {CHANNELS: pages, "slices": int(pixels.attrib["SizeZ"]), "time points": int(pixels.attrib["SizeT"])}
    return StatedPages(axes, _order(_named(pixels, "TiffData"), pages))


def _order(blocks: list[ElementTree.Element], channels: int) -> tuple[int, ...]:
    places = {}
    for block in blocks:
        first, page = int(block.get("FirstC", 0)), int(block.get("IFD", 0))
        for step in range(int(block.get("PlaneCount", 1 if "IFD" in block.attrib else channels))):
            places[first + step] = page + step
    complete = sorted(places) == sorted(places.values()) == list(range(channels))
    return tuple(places[channel] for channel in range(channels)) if complete else ()


def _named(parent: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in parent if child.tag.rpartition("}")[2] == name]


def _of_imagej(description: str) -> StatedPages | None:
    stated = dict(line.split("=", 1) for line in description.splitlines() if "=" in line)
    axes = {name: int(stated[key]) for key, name in _OF_IMAGEJ.items() if key in stated}
    return StatedPages(axes or {_PAGES: int(stated["images"])})


def _of_tifffile(description: str) -> StatedPages | None:
    stated = json.loads(description)
    if "axes" not in stated:
        return StatedPages({_PAGES: prod(stated["shape"][:-2])})
    named = zip(stated["axes"], stated["shape"], strict=True)
    axes = [(axis, int(count)) for axis, count in named if axis not in _WITHIN_A_PAGE]
    return StatedPages({_OF_AXES.get(axis, f"of axis {axis}"): count for axis, count in axes})


_DIALECTS: dict[str, Callable[[str], StatedPages | None]] = {
    "<": _of_ome,
    "ImageJ=": _of_imagej,
    '{"shape"': _of_tifffile,
}
