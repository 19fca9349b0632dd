"""The canvas: colours and identities in one array, so that painting changes both in the same pixels."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.scenes.world.colours import Colour
from coatseg.scenes.world.textures import Bytes, Floats
from coatseg.structures import Size

SKY, BUILDING, TREE, ROAD, PAVEMENT, CAR, PERSON, POLE, SIGN = range(9)
FIRST_THING = 9
"""Identities below this are the class numbers of stuff; the others are objects."""

_SUBPIXEL_BITS = 4
_FARTHEST = 30_000.0
_SHARES = np.linspace(0, 1, 256)[:, None]

Glow = tuple[float, float, float, Colour]
Box = tuple[int, int, int, int]


class Canvas:
    """An image being painted: `pixels` (H, W, 4) uint8 hold red, green, blue and the identity of the thing seen there.

    `labels` holds the class number of every identity. `glows` are halos to be added to the finished image: column, row,
    radius in pixels, colour.
    """

    def __init__(self, size: Size) -> None:
        self.size = size
        self.pixels: Bytes = np.zeros((*size, 4), np.uint8)
        self.labels = list(range(FIRST_THING))
        self.glows: list[Glow] = []

    def identity(self, label: int) -> int:
        """Return a new identity for an object of class `label`; there are 256, several times what a street needs."""
        self.labels.append(label)
        return len(self.labels) - 1

    def polygons(self, points: Floats, ends: Sequence[int], colours: Floats, identity: int) -> None:
        """Fill convex polygons: the points (N, 2) of all, the index where each ends, colours (len(ends), 3)."""
        corners = fixed(points)
        start = 0
        for end, (red, green, blue) in zip(ends, colours.tolist(), strict=True):
            cv2.fillConvexPoly(self.pixels, corners[start:end], (red, green, blue, identity), 8, _SUBPIXEL_BITS)
            start = end

    def polygon(self, points: Floats, colour: Floats, identity: int) -> None:
        """Fill one convex polygon of (N, 2) columns and rows with a colour (3,)."""
        if len(points) > 2:
            self.polygons(points, [len(points)], colour[None], identity)

    def warp(self, picture: Bytes, homography: Floats, outline: Floats, box: Box) -> None:
        """Fill `outline` (N, 2), within `box`, with a picture (h, w, 4) that `homography` maps onto the canvas."""
        left, top, right, bottom = box
        shift = np.array(((1.0, 0.0, -left), (0.0, 1.0, -top), (0.0, 0.0, 1.0)))
        size = (right - left, bottom - top)
        warped = cv2.warpPerspective(picture, shift @ homography, size, borderMode=cv2.BORDER_REPLICATE)
        mask = np.zeros(size[::-1], np.uint8)
        cv2.fillConvexPoly(mask, fixed(outline - (left, top)), 255, 8, _SUBPIXEL_BITS)
        cv2.copyTo(warped, mask, self.pixels[top:bottom, left:right])

    def clip(self, points: Floats) -> Box | None:
        """Return the bounding box (left, top, right, bottom) of points, clipped to the canvas; None if it is empty."""
        if len(points) < 3:
            return None
        (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        left, top = max(int(x0), 0), max(int(y0), 0)
        right, bottom = int(min(x1 + 2, self.size[1])), int(min(y1 + 2, self.size[0]))
        return (left, top, right, bottom) if right > left and bottom > top else None


def fixed(points: Floats) -> npt.NDArray[np.int32]:
    """Return columns and rows (N, 2) as the fixed-point numbers that OpenCV draws with."""
    limited = np.minimum(np.maximum(points, -_FARTHEST), _FARTHEST)
    return np.asarray((limited * (1 << _SUBPIXEL_BITS) - (1 << _SUBPIXEL_BITS) / 2).astype(np.int32))


def blend_table(dark: Floats, light: Floats, identity: int) -> npt.NDArray[np.uint32]:
    """Return 256 packed pixels from the colour `dark` to `light`, to be indexed by a grey picture; see `unpack`."""
    return pack(dark + (light - dark) * _SHARES, identity)


def pack(colours: Floats, identity: int) -> npt.NDArray[np.uint32]:
    """Pack colours (N, 3) and an identity into N integers, which are far faster to index than rows."""
    pixels = np.empty((len(colours), 4), np.uint8)
    pixels[:, :3] = np.minimum(np.maximum(colours, 0), 255)
    pixels[:, 3] = identity
    return pixels.view(np.uint32)[:, 0]


def unpack(packed: npt.NDArray[np.uint32]) -> Bytes:
    """Return packed pixels (h, w) as a picture (h, w, 4) uint8."""
    return packed.view(np.uint8).reshape(*packed.shape, 4)
