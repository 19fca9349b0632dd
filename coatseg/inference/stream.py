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


def stream(
    model: Callable[[Tensor], Tensor],
    read: Callable[[int, int, int, int], Tensor],
    size: Size,
    window: Size,
    overlap: float,
    batch: int,
) -> Iterator[Piece]:
    """Predict an image of `size` by windows, as `slide` does to the last bit, and give every pixel once.

    `read(top, left, height, width)` gives that part of the image (C, height, width). Sums are kept only of the rows
    that the next row of windows sees again, and of the columns that the next window does: K * overlap * window height *
    image width numbers, and somewhat more where the last row is shifted far inwards.
    """
    height, width = min(window[0], size[0]), min(window[1], size[1])
    tops, lefts = starts(size[0], height, overlap), starts(size[1], width, overlap)
    places = list(product(tops, lefts))
    sums: _Sums | None = None
    for begin in range(0, len(places), batch):
        chunk = places[begin : begin + batch]
        logits = model(torch.stack([read(top, left, height, width) for top, left in chunk]))
        if sums is None:
            sums = _Sums(logits, tops, lefts, size)
        for place, (top, left) in enumerate(chunk):
            yield sums.add(top, left, logits[place])
        del logits  # before the next are computed


class _Sums:
    """The sums of logits that are not final yet.

    `below` (K, rows, W) holds those of the rows that the next row of windows sees again, row y at y modulo its length;
    `carry`, those of the rows that are final after this row of windows, in the columns of the last window.
    """

    def __init__(self, like: Tensor, tops: list[int], lefts: list[int], size: Size) -> None:
        self.height, self.width = like.shape[-2], like.shape[-1]
        self.next_top = dict(pairwise([*tops, size[0]]))
        self.next_left = dict(pairwise([*lefts, size[1]]))
        self.seen_above = {top: before + self.height for before, top in pairwise(tops)}
        self.seen_before = {left: before + self.width for before, left in pairwise(lefts)}
        rows = max(top + self.height - after for top, after in self.next_top.items())
        self.below = like.new_zeros(like.shape[1], max(1, rows), size[1])
        self.carry = like.new_zeros(0)
        self.counts = coverage(tops, self.height, like), coverage(lefts, self.width, like)

    def add(self, top: int, left: int, crop: Tensor) -> Piece:
        """Add a window's logits (K, h, w), in the order of rows, and give the piece that is final by it."""
        final, right = self.next_top[top] - top, left + self.width
        above = self.seen_above.get(top, 0)  # sums of rows before this are in `below`
        fresh = self.seen_before.get(left, 0)  # columns from here on are seen for the first time in this row of windows
        known = max(0, min(above - top, final))
        carry = crop.new_zeros(crop.shape[0], final, self.width)
        if fresh > left:
            carry[..., : fresh - left] = self.carry
        first = max(fresh, left)
        for slots, rows in self._slots(top, top + known):
            carry[:, rows, first - left :] = self.below[:, slots, first:right]
        carry += crop[:, :final]
        for slots, _ in self._slots(max(above, top + final), top + self.height):
            self.below[:, slots, first:right] = 0
        for slots, rows in self._slots(top + final, top + self.height):
            self.below[:, slots, left:right] += crop[:, final:][:, rows]
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
