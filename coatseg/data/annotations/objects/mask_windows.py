"""Masks in a window of their image, painted without the rest of it: the same pixels as cut out of the whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from coatseg.data.images.raster import Window

FIFTHS = 5
"""Polygons are painted with their points rounded to fifths of a pixel, in pycocotools' maskApi.c, rleFrPoly."""


def shifted(polygon: npt.NDArray[np.float64], window: Window) -> npt.NDArray[np.float64]:
    """Return a polygon, x and y in turn, as seen from the corner of a window.

    The painter rounds with (int)(5 * x + 0.5), which rounds negative numbers to another side. They are moved to where
    its rounding gives what it gives in the whole image.
    """
    corners = np.tile([window.x, window.y], len(polygon) // 2)
    fifths = np.trunc(FIFTHS * polygon + 0.5) - FIFTHS * corners
    moved: npt.NDArray[np.float64] = np.where(fifths < 0, fifths - 0.75, fifths) / FIFTHS
    return moved


def cut_counts(counts: npt.NDArray[np.int64], height: int, window: Window) -> npt.NDArray[np.int64]:
    """Return the run lengths in a window of an image of this height, column by column, background first."""
    edges = np.cumsum(counts[: len(counts) // 2 * 2])
    starts = edges[::2].clip(window.x * height, (window.x + window.width) * height)
    ends = edges[1::2].clip(window.x * height, (window.x + window.width) * height)
    there = ends > starts
    starts, ends = starts[there], ends[there]
    first, last = starts // height, (ends - 1) // height
    parts = last - first + 1  # a run is cut at the bottom of each column
    run = np.repeat(np.arange(len(parts)), parts)
    column = np.arange(len(run)) - np.repeat(np.cumsum(parts) - parts, parts) + first[run]
    top = np.maximum(starts[run] - column * height, 0).clip(window.y, window.y + window.height)
    bottom = np.minimum(ends[run] - column * height, height).clip(window.y, window.y + window.height)
    seen = bottom > top
    left = (column[seen] - window.x) * window.height - window.y
    inside = np.stack([left + top[seen], left + bottom[seen]], 1).ravel()
    return np.diff(np.concatenate([[0], inside, [window.height * window.width]]))
