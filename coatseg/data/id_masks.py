"""Id maps, in which each object has a number of its own, to instances."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from coatseg.data.images import Pixels


def objects_of(ids: Pixels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Find the objects of an id map (H, W): their ids (N,), ascending, and boxes (N, 4); 0 is background.

    Works on runs of equal pixels along the rows, of which there are far fewer than pixels.
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
    return found, boxes.astype(np.float32)


def masks_of(ids: Pixels, found: npt.NDArray[np.int64], boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Cut the masks (N, H, W) of objects out of an id map, given their ids (N,) and boxes (N, 4)."""
    masks = np.zeros((len(found), *ids.shape), bool)
    for mask, number, (x1, y1, x2, y2) in zip(masks, found, boxes.astype(int), strict=True):
        np.equal(ids[y1:y2, x1:x2], number, out=mask[y1:y2, x1:x2])
    return masks
