"""Id maps, in which each object has its own number: split into instances, and made of the masks of instances."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from coatseg.structures import Pixels


def objects_of(ids: Pixels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the objects of an id map (H, W): their ids (N,), ascending, and boxes (N, 4); 0 is background.

    It works on runs of equal pixels along the rows, of which there are far fewer than pixels.
    """
    width = ids.shape[1]
    begins = np.ones(ids.shape, bool)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    values = ids.ravel()[starts].astype(np.int64)
    ends = np.append(starts[1:], ids.size)
    inside = values != 0
    starts, ends = starts[inside], ends[inside]
    found, place = np.unique(values[inside], return_inverse=True)
    rows = starts // width
    boxes = np.zeros((len(found), 4), np.int64)
    boxes[:, :2] = ids.size
    for column, reduce, of_runs in (
        (0, np.minimum, starts % width),
        (1, np.minimum, rows),
        (2, np.maximum, (ends - 1) % width + 1),
        (3, np.maximum, rows + 1),
    ):
        reduce.at(boxes[:, column], place, of_runs)
    return found, boxes.astype(np.float64)


def masks_of(ids: Pixels, found: npt.NDArray[np.int64], boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Cut the masks (N, H, W) of objects out of an id map, given their ids (N,) and boxes (N, 4)."""
    masks = np.zeros((len(found), *ids.shape), bool)
    for mask, number, (x1, y1, x2, y2) in zip(masks, found, boxes.astype(int), strict=True):
        np.equal(ids[y1:y2, x1:x2], number, out=mask[y1:y2, x1:x2])
    return masks


Masks = npt.NDArray[np.bool_]
ID_TYPES = (np.uint8, np.uint16, np.int32)


@dataclass(frozen=True)
class Packed:
    """N masks packed into M id maps (M, H, W): mask `n` is where map `places[n]` holds n + 1; elsewhere maps are 0."""

    maps: Pixels
    places: npt.NDArray[np.int64]


def pack(masks: Masks) -> Packed:
    """Pack N > 0 masks (N, H, W) into few id maps, each into the first map in which it overlaps none before it."""
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


def unpack(packed: Packed) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], Masks]:
    """Unpack the masks that still have pixels.

    Returns the numbers of these K masks, their tight boxes (K, 4) and the masks themselves (K, H, W).
    """
    boxes_of_maps = [ndimage.find_objects(ids, len(packed.places)) for ids in packed.maps]
    found = [(number, place, boxes_of_maps[place][number]) for number, place in enumerate(packed.places.tolist())]
    kept = [(number, place, box) for number, place, box in found if box is not None]
    masks = np.zeros((len(kept), *packed.maps.shape[1:]), np.bool_)
    for mask, (number, place, box) in zip(masks, kept, strict=True):
        mask[box] = packed.maps[place][box] == number + 1
    corners = [(columns.start, rows.start, columns.stop, rows.stop) for _, _, (rows, columns) in kept]
    numbers = np.array([number for number, _, _ in kept], np.int64)
    return numbers, np.array(corners, np.float64).reshape(-1, 4), masks
