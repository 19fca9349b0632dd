"""Sliding windows over an image that is too large to hold its logits: they come in pieces, finished ones first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise, product
from typing import NamedTuple

import torch
from torch import Tensor

from coatseg.inference.windows import coverage, starts
from coatseg.structures import Size


class Piece(NamedTuple):
    """Final logits (K, h, w) of the pixels from (top, left) on."""

    top: int
    left: int
    logits: Tensor


SUMS_BYTES = 2**29
"""What the sums of a strip of the image may take, if it is wider than a window."""
LOGITS_BYTES = 2**28
"""What the logits of the windows that go through the model at once may take."""


def stream(
    model: Callable[[Tensor], Tensor],
    read: Callable[[int, int, int, int], Tensor],
    size: Size,
    window: Size,
    overlap: float,
    batch: int,
    classes: int,
) -> Iterator[Piece]:
    """Predict an image of `size` by windows, as `slide` does to the last bit, and give every pixel once.

    `read(top, left, height, width)` gives that part of the image (C, height, width), for which the model gives logits
    of so many `classes`. The image is cut into strips of whole columns of windows, from its top to its bottom, so that
    neither the image's height nor its width counts for the memory; windows that reach from a strip into the next are
    predicted for both. At most `batch` windows go through the model at once, and fewer where classes are many.
    """
    height, width = min(window[0], size[0]), min(window[1], size[1])
    tops, lefts = starts(size[0], height, overlap), starts(size[1], width, overlap)
    kept = _Kept(tops, height, [*tops[1:], size[0]])
    batch = max(1, min(batch, LOGITS_BYTES // (4 * classes * height * width)))
    columns = SUMS_BYTES // (4 * classes * kept.rows)
    for strip in strips(lefts, width, size[1], columns):
        places = list(product(tops, strip.lefts))
        sums: _Sums | None = None
        for begin in range(0, len(places), batch):
            chunk = places[begin : begin + batch]
            logits = model(torch.stack([read(top, left, height, width) for top, left in chunk]))
            if sums is None:
                counts = coverage(tops, height, logits), coverage(lefts, width, logits)
                sums = _Sums(logits, kept, strip, counts)
            for place, (top, left) in enumerate(chunk):
                piece = sums.add(top, left, logits[place])
                if left >= strip.begin:
                    yield piece
            del logits  # before the next are computed


class Strip(NamedTuple):
    """The columns from `begin` to `end`, and where the windows begin that see some of them."""

    begin: int
    end: int
    lefts: list[int]


def strips(lefts: list[int], width: int, length: int, columns: int) -> list[Strip]:
    """Cut a side of `length` pixels where windows of `width` begin, so that those of a strip span `columns`.

    They span more where the windows at one column do.
    """
    found: list[Strip] = []
    ends = [*lefts[1:], length]
    begin = 0
    for place, end in enumerate(ends):
        seen = [left for left in lefts[: place + 1] if left + width > lefts[begin]]
        if end == length or end + width - seen[0] > columns:
            found.append(Strip(lefts[begin], end, seen))
            begin = place + 1
    return found


class _Kept:
    """Which rows of windows at `tops` are final after which, the next ones being at `after`."""

    def __init__(self, tops: list[int], height: int, after: list[int]) -> None:
        self.next_top = dict(zip(tops, after, strict=True))
        self.seen_above = {top: before + height for before, top in pairwise(tops)}
        self.rows = max(1, *(top + height - final for top, final in self.next_top.items()))


class _Sums:
    """The sums of a strip's logits that are not final yet.

    `below` (K, rows, columns) holds those of the rows that the next row of windows sees again, row y at y modulo its
    length; `carry`, those of the rows that are final after this row of windows, in the columns of the last window.
    """

    def __init__(self, like: Tensor, kept: _Kept, strip: Strip, counts: tuple[Tensor, Tensor]) -> None:
        self.height, self.width = like.shape[-2], like.shape[-1]
        self.kept = kept
        self.origin = strip.lefts[0]
        self.next_left = dict(pairwise([*strip.lefts, strip.end]))
        self.seen_before = {left: before + self.width for before, left in pairwise(strip.lefts)}
        self.below = like.new_zeros(like.shape[1], kept.rows, strip.lefts[-1] + self.width - self.origin)
        self.carry = like.new_zeros(0)
        self.counts = counts

    def add(self, top: int, left: int, crop: Tensor) -> Piece:
        """Add a window's logits (K, h, w), in the order of rows, and give the piece that is final by it."""
        final, right = self.kept.next_top[top] - top, left + self.width
        above = self.kept.seen_above.get(top, 0)  # sums of rows before this are in `below`
        fresh = self.seen_before.get(left, 0)  # columns from here on are seen for the first time in this row of windows
        known = max(0, min(above - top, final))
        carry = crop.new_zeros(crop.shape[0], final, self.width)
        if fresh > left:
            carry[..., : fresh - left] = self.carry
        first = max(fresh, left)
        new, all_columns = (slice(begin - self.origin, right - self.origin) for begin in (first, left))
        for slots, rows in self._slots(top, top + known):
            carry[:, rows, first - left :] = self.below[:, slots, new]
        carry += crop[:, :final]
        for slots, _ in self._slots(max(above, top + final), top + self.height):
            self.below[:, slots, new] = 0
        for slots, rows in self._slots(top + final, top + self.height):
            self.below[:, slots, all_columns] += crop[:, final:][:, rows]
        done = self.next_left[left] - left
        down, across = self.counts
        covered = down[top : top + final, None] * across[left : left + done]
        self.carry = carry[..., done:]
        return Piece(top, left, carry[..., :done] / covered)

    def _slots(self, begin: int, end: int) -> Iterator[tuple[slice, slice]]:
        """Give where the rows from `begin` to `end` are in `below`, and which of them, counted from 0, those are."""
        length, row = self.below.shape[1], begin
        while row < end:
            slot = row % length
            count = min(length - slot, end - row)
            yield slice(slot, slot + count), slice(row - begin, row - begin + count)
            row += count
