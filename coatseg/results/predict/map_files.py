"""Files of label maps: PNG with a palette, GeoTIFF where an image states its place."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from PIL import Image

from coatseg.data.images.statements.geotags import GeoTags, encode_label_map
from coatseg.results.predict.numbers import Numbering
from coatseg.structures import Colour, Pixels
from coatseg.system.fsspec_folders import Place

SUFFIXES = (".png", ".tif")


def file_name(name: str, number: int) -> str:
    """Make a class's name a folder's: a checkpoint may not write outside of its output."""
    safe = re.sub(r"[/\\\0]", "_", name)
    return safe if safe.strip(". ") else str(number)


def renumbered_palette(numbering: Numbering, palette: Sequence[Colour]) -> list[Colour]:
    """Return the colours of all numbers of 8 bit: those of classes have the class's colour, all others black."""
    colours: list[Colour] = [(0, 0, 0)] * 256
    for number, colour in zip(numbering.classes, palette, strict=False):  # which has no colour beyond 256 classes
        if number < 256:
            colours[number] = colour
    return colours


def either(place: Place, folder: str, name: str) -> bool:
    """Return whether a map is there, as the one or the other."""
    return any(place.exists(f"{folder}/{name}{suffix}") for suffix in SUFFIXES)


def write_map(
    place: Place, folder: str, name: str, labels: Pixels, tags: GeoTags | None, colours: Sequence[Colour] = ()
) -> None:
    """Write class numbers; those of uint8 with `colours`, and black for the others."""
    if tags is not None and tags.states_place:
        place.write(f"{folder}/{name}.tif", encode_label_map(labels, tags, colours))
        return
    write_png(place, f"{folder}/{name}.png", labels, colours)


def write_png(place: Place, name: str, labels: Pixels, colours: Sequence[Colour] = ()) -> None:
    """Write numbers (H, W), uint8 or uint16, as a PNG; those of uint8 with `colours` if there are any."""
    image = Image.fromarray(np.ascontiguousarray(labels))
    if colours and labels.dtype == np.uint8:
        image.putpalette(bytes(np.array(colours, np.uint8)).ljust(3 * 256, b"\0"))
    with place.writing(name) as file:
        image.save(file, format="png")
