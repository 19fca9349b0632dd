"""Draw panoptic segments over an image: tints, outlines, and class names where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.structures import Colour, DatasetInfo
from coatseg.visualize.label_maps import Picture
from coatseg.visualize.objects import CROWD, Place, shade, text_size, write_text
from coatseg.visualize.sheets import scaled

OPACITY = 0.55
VOID_LIGHT, OUTLINE_LIGHT = 0.25, 0.45
"""How much light is left where no segment is, and on outlines."""

Ids = npt.NDArray[np.integer]
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Segments:
    """Segments to draw: `ids` (H, W), 0 where there is none, else 1 + the place among `colours` and `texts`.

    A segment without a colour is not drawn; one with an empty text has no name.
    """

    ids: Ids
    colours: Sequence[Colour | None]
    texts: Sequence[str]


def draw_segments(
    image: Picture,
    ids: Ids,
    labels: Sequence[int],
    info: DatasetInfo,
    width: int | None = None,
    crowd: Sequence[bool] = (),
) -> Picture:
    """Draw the segments of an RGB image over it, scaled to `width` if given; void is dark.

    `ids` (H, W) are 0 where there is no segment, else 1 + the segment's place among the `labels`, which are class
    numbers. Each thing has its own shade of the class's colour, stuff has the class's colour, and what `crowd` marks,
    if given, is grey.
    """
    colours, texts = list(segment_colours(labels, info)), [info.classes[label] for label in labels]
    for place in np.flatnonzero(crowd).tolist():
        colours[place], texts[place] = CROWD, f"{texts[place]} crowd"
    return draw_layers(image, [Segments(ids, colours, texts)], ids == 0, width)


def places_of(ids: Ids, numbers: Ids) -> Ids:
    """Return the map (H, W) of 1 + the place in `numbers` of each id of an id map, 0 where it has none of them."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    at = np.searchsorted(ordered, ids)
    known = np.concatenate([ordered, [0]])[at] == ids
    return np.where(known, np.concatenate([order + 1, [0]])[at], 0)


def segment_colours(labels: Sequence[int], info: DatasetInfo) -> list[Colour]:
    """Return a colour for each segment: its class's colour, for things in shades."""
    seen: dict[int, int] = {}
    colours = []
    for label in labels:
        place = seen[label] = seen.get(label, -1) + 1
        colours.append(shade(info.palette[label], place) if label in info.things else info.palette[label])
    return colours


def draw_layers(
    image: Picture, layers: Sequence[Segments], void: npt.NDArray[np.bool_], width: int | None = None
) -> Picture:
    """Draw segments over an RGB image, with mixed colours where layers overlap, and darken it where `void` (H, W) is.

    Names are written last, within their segments and never over each other, those of later layers first.
    """
    picture = image.copy() if width is None else scaled(image, width).copy()
    size = picture.shape[:2]
    dark = _nearest(void, size)
    picture[dark] = np.round(picture[dark] * VOID_LIGHT)
    shown = [Segments(_nearest(layer.ids, size), layer.colours, layer.texts) for layer in layers]
    _tint(picture, shown)
    free = np.ones(size, np.uint8)
    for layer in reversed(shown):
        _write_names(picture, layer, free)
    return picture


def _nearest(maps: npt.NDArray[Number], size: tuple[int, int]) -> npt.NDArray[Number]:
    """Scale a map (H, W) to a size, each pixel taking what is at its middle."""
    rows, columns = (
        ((np.arange(after) + 0.5) * before / after).astype(int) for before, after in zip(maps.shape, size, strict=True)
    )
    chosen: npt.NDArray[Number] = maps[rows[:, None], columns]
    return chosen


def _tint(picture: Picture, layers: Sequence[Segments]) -> None:
    """Blend the colours of segments into a picture of their size, and draw their outlines inside of them."""
    colours, count = np.zeros(picture.shape, np.float32), np.zeros(picture.shape[:2], np.float32)
    edges = np.zeros(picture.shape[:2], bool)
    for layer in layers:
        table = np.array([(0, 0, 0), *(colour or (0, 0, 0) for colour in layer.colours)], np.float32)
        drawn = np.array([False, *(colour is not None for colour in layer.colours)])[layer.ids]
        colours += table[layer.ids]
        count += drawn
        edges |= drawn & _edges(layer.ids)
    inside = count > 0
    blended = picture[inside] * (1 - OPACITY) + OPACITY * colours[inside] / count[inside][:, None]
    # An outline is darker than what it surrounds, so that two segments of one colour are told apart.
    blended[edges[inside]] *= OUTLINE_LIGHT
    picture[inside] = np.round(blended)


def _edges(ids: Ids) -> npt.NDArray[np.bool_]:
    """Mark pixels (H, W) whose right or lower neighbour is of another segment."""
    edges = np.zeros(ids.shape, bool)
    edges[:, :-1] |= ids[:, 1:] != ids[:, :-1]
    edges[:-1] |= ids[1:] != ids[:-1]
    return edges


def _write_names(picture: Picture, layer: Segments, free: npt.NDArray[np.uint8]) -> None:
    """Write the names of segments in their midst where that is `free` (H, W), the largest segment's first."""
    present, pixels = np.unique(layer.ids, return_counts=True)
    for number in present[np.argsort(-pixels, kind="stable")].tolist():
        colour, text = (layer.colours[number - 1], layer.texts[number - 1]) if number else (None, "")
        if colour is None or not text:
            continue
        place = _room((layer.ids == number) & (free > 0), text_size(text))
        if place is not None:
            write_text(picture, text, place, colour)
            free[place.top : place.bottom, place.left : place.right] = 0


def _room(mask: npt.NDArray[np.bool_], size: tuple[int, int]) -> Place | None:
    """Return where a text of size (width, height) lies farthest within a mask (H, W); None if it fits nowhere."""
    pixels = mask.view(np.uint8)
    left, top, wide, high = cv2.boundingRect(pixels)
    if wide < size[0] or high < size[1]:
        return None
    cut = np.pad(pixels[top : top + high, left : left + wide], 1)
    fits = cv2.erode(cut, np.ones((size[1], size[0]), np.uint8))
    if not fits.any():
        return None
    depth = cv2.distanceTransform(cut, cv2.DIST_L2, 3)
    row, column = np.unravel_index(np.where(fits > 0, depth, -1).argmax(), cut.shape)
    x, y = left - 1 + int(column) - size[0] // 2, top - 1 + int(row) - size[1] // 2
    return Place(x, y, x + size[0], y + size[1])
