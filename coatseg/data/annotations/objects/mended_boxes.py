"""Mend annotated boxes: those without area, with reversed corners, or reaching out of the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from coatseg.errors import DatasetError

Boxes = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

BOXES = ("box", "boxes")
TOLERANCE = 1.0
"""Pixels by which a box may reach out of its image, as rounding makes it, before its clipping is reported."""


@dataclass(frozen=True)
class MendedBoxes:
    """Boxes (N, 4) inside their images, `kept` (N,) bool, False for those to leave out, and what was mended.

    `findings` maps what was done, in words that follow a number of boxes, to the numbers of the boxes concerned.
    """

    boxes: Boxes
    kept: npt.NDArray[np.bool_]
    findings: Mapping[str, Numbers]

    def repairs(self, place: Callable[[int], str]) -> tuple[str, ...]:
        """Return one line for each kind of mending; `place` maps the number of a box to words for where it is."""
        return tuple(
            repair_line(BOXES, len(numbers), done, place(int(numbers[0])))
            for done, numbers in self.findings.items()
            if len(numbers)
        )


def mend_boxes(stated: Boxes, sizes: Numbers, *, first_pixel: int | None = None) -> MendedBoxes:
    """Mend boxes (N, 4), x1, y1, x2, y2, in images of `sizes` (N, 2), height and width.

    Corners are edges between pixels or, with `first_pixel`, pixels that the box includes, counted from that number.
    Boxes without area, whose corners share an x or a y, and those wholly outside are not kept; reversed corners are
    swapped, and boxes that reach out are clipped.
    """
    empty = (stated[:, :2] == stated[:, 2:]).any(1)
    reversed_ = (stated[:, :2] > stated[:, 2:]).any(1) & ~empty
    low, high = np.minimum(stated[:, :2], stated[:, 2:]), np.maximum(stated[:, :2], stated[:, 2:])
    if first_pixel is not None:
        low, high = low - first_pixel, high - first_pixel + 1
    limits = sizes[:, ::-1]
    excess = np.maximum(-low, high - limits).max(1, initial=0)
    low, high = low.clip(0, limits), high.clip(0, limits)
    # In float32, which models compute in, a sliver of a box may have no area.
    outside = (low.astype(np.float32) >= high.astype(np.float32)).any(1) & ~empty
    clipped = (excess >= TOLERANCE) & ~outside & ~empty
    return MendedBoxes(
        np.concatenate([low, high], 1),
        ~(empty | outside),
        {
            "without area left out": np.flatnonzero(empty),
            "outside the image left out": np.flatnonzero(outside),
            "with reversed corners swapped": np.flatnonzero(reversed_ & ~outside),
            "reaching out of the image clipped": np.flatnonzero(clipped),
        },
    )


def check_not_fractions(source: Path | str, what: str, boxes: Boxes) -> None:
    """Raise DatasetError if all boxes (N, 4), given by corners, are fractions of their images; NaN is no box."""
    known = boxes[~np.isnan(boxes).any(1)]
    if len(known) and (known >= 0).all() and (known <= 1).all() and (known != np.rint(known)).any():
        raise DatasetError(
            f"{source}: the {what} are fractions of the image, all between 0 and 1.",
            "Multiply x by the width of the image and y by its height, or export them in pixels.",
        )


def repair_line(kind: tuple[str, str], count: int, done: str, first: str) -> str:
    """Return a line on how many things of a kind (singular, plural) were mended or left out, and where the first is."""
    return f"{count} {kind[count != 1]} {done} (first: {first})"
