"""Masks of objects as few id maps, which are moved as fast as label maps are, and the masks taken apart again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from coatseg.data.images import Pixels

Masks = npt.NDArray[np.bool_]
ID_TYPES = (np.uint8, np.uint16, np.int32)


@dataclass(frozen=True)
class Packed:
    """N masks in M maps: mask `n` is where map `places[n]` holds n + 1; `maps` (M, H, W) hold 0 where no mask is."""

    maps: Pixels
    places: npt.NDArray[np.int64]


def pack(masks: Masks) -> Packed:
    """Put each of N > 0 masks (N, H, W) into the first map where it lies over none before it."""
    dtype = next(dtype for dtype in ID_TYPES if len(masks) <= np.iinfo(dtype).max)
    maps: list[Pixels] = []
    places = np.zeros(len(masks), np.int64)
    for number, mask in enumerate(masks):
        x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        box = slice(y, y + height), slice(x, x + width)
        shown = mask[box]
        place = next((place for place, ids in enumerate(maps) if not ids[box][shown].any()), len(maps))
        if place == len(maps):
            maps.append(np.zeros(mask.shape, dtype))
        maps[place][box][shown] = number + 1
        places[number] = place
    return Packed(np.stack(maps), places)


def unpack(packed: Packed) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], Masks]:
    """Take the masks apart again, those without a pixel left out.

    Returns the numbers of the K masks that are left, their tight boxes (K, 4) and themselves (K, H, W).
    """
    boxes_of_maps = [ndimage.find_objects(ids, len(packed.places)) for ids in packed.maps]
    found = [(number, place, boxes_of_maps[place][number]) for number, place in enumerate(packed.places.tolist())]
    kept = [(number, place, box) for number, place, box in found if box is not None]
    masks = np.zeros((len(kept), *packed.maps.shape[1:]), np.bool_)
    for mask, (number, place, box) in zip(masks, kept, strict=True):
        mask[box] = packed.maps[place][box] == number + 1
    corners = [(columns.start, rows.start, columns.stop, rows.stop) for _, _, (rows, columns) in kept]
    numbers = np.array([number for number, _, _ in kept], np.int64)
    return numbers, np.array(corners, np.float32).reshape(-1, 4), masks
