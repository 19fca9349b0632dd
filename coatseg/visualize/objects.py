"""Draw objects over an image: tinted masks, outlines, boxes, and labels that do not overlap."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.structures import Colour, DatasetInfo
from coatseg.visualize.label_maps import BLACK, WHITE, Picture
from coatseg.visualize.sheets import FONT, scaled

FONT_SIZE = 0.36
OPACITY = 0.45
LIGHTNESS = (0.55, 0.72, 0.42, 0.64, 0.5)
CROWDED = 15
"""With more objects than this, labels wider than their object are left out, and masks are drawn without boxes."""
HUES = (0.0, 0.045, -0.045)
GOLDEN = 0.618
MISSED: Colour = (225, 30, 30)
FALSE: Colour = (20, 90, 235)
RIGHT: Colour = (120, 170, 120)
CROWD: Colour = (150, 150, 150)


def shades(labels: Sequence[int], info: DatasetInfo) -> list[Colour]:
    """Return a colour for each object: a shade of its class's colour, or any hue if there is only one class."""
    seen: dict[int, int] = {}
    colours = []
    for label in labels:
        place = seen[label] = seen.get(label, -1) + 1
        colours.append(shade(info.palette[label], place, any_hue=len(info.things) == 1))
    return colours


def shade(colour: Colour, place: int, any_hue: bool = False) -> Colour:
    """Return the shade of a class's colour, or any hue, for the object of the class that is at a place among them."""
    hue, _, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in colour))
    if any_hue:
        hue, saturation = hue + GOLDEN * place, 0.8
    else:
        hue += HUES[place % len(HUES)]
    red, green, blue = colorsys.hls_to_rgb(hue % 1, LIGHTNESS[place % len(LIGHTNESS)], saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def names(info: DatasetInfo) -> Sequence[str]:
    """Return the names to write on objects of each class; empty ones if there is only one class."""
    return [""] * len(info.classes) if len(info.things) == 1 else info.classes


def draw_truth(
    image: Picture,
    boxes: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    crowd: npt.NDArray[np.bool_],
    masks: npt.NDArray[np.bool_] | None,
    info: DatasetInfo,
    width: int,
) -> Picture:
    """Draw annotated objects over an RGB image by `draw_objects`: the largest at the back, crowds in grey."""
    order = (boxes[:, 2:] - boxes[:, :2]).prod(1).argsort(kind="stable")
    chosen, many = labels[order].tolist(), crowd[order].tolist()
    colours = [CROWD if one else shade for shade, one in zip(shades(chosen, info), many, strict=True)]
    texts = [f"{names(info)[label]}{' crowd' if one else ''}" for label, one in zip(chosen, many, strict=True)]
    return draw_objects(image, boxes[order], None if masks is None else masks[order], colours, texts, width)


def draw_objects(
    image: Picture,
    boxes: npt.NDArray[np.floating],
    masks: npt.NDArray[np.bool_] | None,
    colours: Sequence[Colour],
    texts: Sequence[str],
    width: int,
) -> Picture:
    """Draw objects over an RGB image, scaled to `width`: boxes (N, 4) and masks (N, H, W) in pixels of the image.

    The first object is on top. Texts never overlap: each is written where there is room at its box, or left out, the
    first object's first. With many objects (see CROWDED), masks have no boxes, and small objects no texts.
    """
    picture = scaled(image, width).copy()
    zoom = np.array([picture.shape[1] / image.shape[1], picture.shape[0] / image.shape[0]] * 2)
    corners = (boxes * zoom).round().astype(int)
    crowded = len(corners) > CROWDED
    for number in reversed(range(len(corners))):
        if masks is not None:
            _tint(picture, masks[number], colours[number])
        if masks is None or not crowded:
            left, top, right, bottom = corners[number].tolist()
            cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colours[number], 1)
    taken: list[Place] = []
    for corner, colour, text in zip(corners.tolist(), colours, texts, strict=True):
        _label(picture, text, corner, colour, taken, anyway=not crowded)
    return picture


def _tint(picture: Picture, mask: npt.NDArray[np.bool_], colour: Colour) -> None:
    """Blend a mask of any size into a picture, and draw its outline."""
    height, width = picture.shape[:2]
    share = cv2.resize(mask.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA)
    left, top, wide, high = cv2.boundingRect(share)
    inside = slice(top, top + high), slice(left, left + wide)
    weight = OPACITY / 255 * share[inside][..., None]
    picture[inside] = np.round(picture[inside] * (1 - weight) + weight * np.array(colour)).astype(np.uint8)
    contours, _ = cv2.findContours((share > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, 1)


class Place(NamedTuple):
    """Where a text is written, in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: Place) -> bool:
        """Return whether two places share a pixel."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def text_size(text: str) -> tuple[int, int]:
    """Return the width and height in pixels that `write_text` needs."""
    (wide, high), _ = cv2.getTextSize(text, FONT, FONT_SIZE, 1)
    return wide + 3, high + 5


def write_text(picture: Picture, text: str, place: Place, colour: Colour) -> None:
    """Write a text on a plate of a colour, in black or white, whichever can be read on it."""
    cv2.rectangle(picture, (place.left, place.top), (place.right - 1, place.bottom - 1), colour, cv2.FILLED)
    ink = BLACK if np.dot(colour, (0.299, 0.587, 0.114)) > 120 else WHITE
    cv2.putText(picture, text, (place.left + 1, place.bottom - 3), FONT, FONT_SIZE, ink, 1, cv2.LINE_AA)


def _label(
    picture: Picture, text: str, corner: Sequence[int], colour: Colour, taken: list[Place], anyway: bool
) -> None:
    """Write a text above a box, at its top or below it, where that is free; one wider than the box only if `anyway`."""
    wide, high = text_size(text)
    if not text or (wide > corner[2] - corner[0] and not anyway):
        return
    left = max(0, min(corner[0], picture.shape[1] - wide))
    for top in (corner[1] - high, corner[1], corner[3]):
        place = Place(left, top, left + wide, top + high)
        if top >= 0 and place.bottom <= picture.shape[0] and not any(place.overlaps(other) for other in taken):
            taken.append(place)
            write_text(picture, text, place, colour)
            return
