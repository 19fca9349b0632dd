"""Images whose logits do not fit in memory: maps are read in parts, and logits are completed strip by strip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from coatseg.structures import Size
from coatseg.tasks.inference.views import Activation
from coatseg.tasks.inference.windows import coverage, starts

LOGITS_BYTES = 2**28
"""The most bytes for the logits of the windows that go through the model at once."""
PIECE_BYTES = 2**26
"""The most bytes for the logits of a piece, if it has more than one row."""


class Piece(NamedTuple):
    """Final logits (K, h, w) of the rectangle of pixels that begins at (top, left)."""

    top: int
    left: int
    logits: Tensor


def pieces(logits: LargeMap, columns: int, classes: int) -> Iterator[Piece]:
    """Yield the logits of every pixel once, of so many `classes`, in strips of `columns`, each from top to bottom."""
    height, width = logits.size
    rows = max(1, PIECE_BYTES // (4 * classes * min(columns, width)))
    for left in range(0, width, columns):
        read = logits.strip(left, min(left + columns, width))
        for top in range(0, height, rows):
            yield Piece(top, left, read(top, min(top + rows, height)))


def by_windows(
    model: Callable[[Tensor], Tensor], image: LargeMap, window: Size, overlap: float, batch: int, classes: int
) -> LargeMap:
    """Return the logits of an image as `slide` predicts them, as a map whose strips hold no more than a row of windows.

    The model computes logits of so many `classes`. At most `batch` windows go through it at once, and fewer if there
    are many classes. Windows that reach from a strip into the next are predicted for both.
    """
    size = image.size
    height, width = min(window[0], size[0]), min(window[1], size[1])
    batch = max(1, min(batch, LOGITS_BYTES // (4 * classes * height * width)))

    def predict(top: int, lefts: list[int]) -> Iterator[tuple[int, Tensor]]:
        for begin in range(0, len(lefts), batch):
            chunk = lefts[begin : begin + batch]
            seen = torch.stack([image.strip(left, left + width)(top, top + height) for left in chunk])
            yield from zip(chunk, model(seen), strict=True)

    def strip(left: int, right: int) -> Rows:
        return _Strip(predict, size, (height, width), overlap, left, right).read

    return LargeMap(size, strip)


class _Strip:
    """The columns from `left` to `right` of the mean logits of all windows, predicted as their rows are asked for.

    `sums` (K, rows, columns) begins with the sums of the logits in the rows from `first` to `end`, over the windows
    predicted so far; the rows after them are zero.
    """

    def __init__(
        self,
        predict: Callable[[int, list[int]], Iterator[tuple[int, Tensor]]],
        size: Size,
        window: Size,
        overlap: float,
        left: int,
        right: int,
    ) -> None:
        self.predict = predict
        self.left, self.right = left, right
        self.window = window
        self.tops = starts(size[0], window[0], overlap)
        all_lefts = starts(size[1], window[1], overlap)
        self.lefts = [begin for begin in all_lefts if begin < right and begin + window[1] > left]
        self.down, self.across = coverage(self.tops, window[0]), coverage(all_lefts, window[1])[left:right]
        self.finals = [*self.tops[1:], size[0]]
        self.seen = 0
        self.first = self.end = 0
        self.sums: Tensor | None = None

    def read(self, top: int, bottom: int) -> Tensor:
        """Return the rows from `top` to `bottom`; `top` may not be less than in earlier calls."""
        while self.seen == 0 or self.finals[self.seen - 1] < bottom:
            self._see(top, bottom)
        assert self.sums is not None
        counts = self.down[top:bottom, None] * self.across
        return self.sums[:, top - self.first : bottom - self.first] / counts.to(self.sums)

    def _see(self, top: int, bottom: int) -> None:
        """Predict the next row of windows, add its logits to the sums, and forget the rows before `top`."""
        begin, (height, width) = self.tops[self.seen], self.window
        for window_left, logits in self.predict(begin, self.lefts):
            if window_left == self.lefts[0]:
                self._make_room(min(top, begin), begin + height, bottom - top + height, logits)
            assert self.sums is not None
            left, right = max(self.left, window_left), min(self.right, window_left + width)
            part = logits[..., left - window_left : right - window_left]
            rows = slice(begin - self.first, self.end - self.first)
            self.sums[:, rows, left - self.left : right - self.left] += part
        self.seen += 1

    def _make_room(self, first: int, end: int, rows: int, like: Tensor) -> None:
        """Make `sums` hold the rows from `first` to `end`, with room for `rows`; in place, as no buffer is larger."""
        held = self.sums
        if held is None or held.shape[1] < end - first:
            self.sums = like.new_empty(like.shape[0], max(rows, end - first), self.right - self.left)
        assert self.sums is not None
        known = self.end - first
        if held is not None:
            for old, new in zip(held, self.sums, strict=True):
                new[:known] = old[first - self.first : self.end - self.first].clone()  # the two may overlap
        self.sums[:, known:] = 0
        self.first, self.end = first, end


Rows = Callable[[int, int], Tensor]
"""Returns the rows from `top` to `bottom` of a strip (C, bottom - top, columns); called from the top downwards."""


class LargeMap(NamedTuple):
    """A map (C, height, width) that is read in parts: `strip(left, right)` opens the columns from left to right."""

    size: Size
    strip: Callable[[int, int], Rows]


def mirrored(given: LargeMap) -> LargeMap:
    """Return the map with left and right exchanged."""
    width = given.size[1]

    def strip(left: int, right: int) -> Rows:
        rows = given.strip(width - right, width - left)
        return lambda top, bottom: rows(top, bottom).flip(-1)

    return LargeMap(given.size, strip)


def resized(given: LargeMap, size: Size) -> LargeMap:
    """Return the map resized bilinearly, as by `torch.nn.functional.interpolate` without aligned corners."""
    if given.size == size:
        return given

    def strip(left: int, right: int) -> Rows:
        across = _taps(left, right, given.size[1], size[1])
        rows = given.strip(across.begin, across.end)

        def read(top: int, bottom: int) -> Tensor:
            down = _taps(top, bottom, given.size[0], size[0])
            return across.mix(down.mix(rows(down.begin, down.end), -2), -1)

        return read

    return LargeMap(size, strip)


def mean_of(views: Sequence[LargeMap], activation: Activation) -> LargeMap:
    """Return the mean of the probabilities of views, as logits again."""

    def strip(left: int, right: int) -> Rows:
        open_views = [view.strip(left, right) for view in views]

        def read(top: int, bottom: int) -> Tensor:
            total: Tensor | None = None
            for rows in open_views:
                probabilities = activation.probabilities(rows(top, bottom)[None])
                total = probabilities if total is None else total.add_(probabilities)
            assert total is not None
            return activation.logits(total / len(views))[0]

        return read

    return LargeMap(views[0].size, strip)


class _Taps(NamedTuple):
    """The positions from `begin` to `end` that are interpolated between: `low` and, with weight `share`, `high`.

    `low` and `high` count from `begin`.
    """

    begin: int
    end: int
    low: Tensor
    high: Tensor
    share: Tensor

    def mix(self, maps: Tensor, side: int) -> Tensor:
        """Return maps interpolated along a side, -2 or -1."""
        low, high = (maps.index_select(side, tap.to(maps.device)) for tap in (self.low, self.high))
        share = self.share.to(maps)
        return torch.lerp(low, high, share if side == -1 else share[:, None])


def _taps(begin: int, end: int, given: int, wanted: int) -> _Taps:
    """Return what positions `begin` to `end` on a side of `wanted` pixels are interpolated from, on one of `given`."""
    scale = torch.tensor(given / wanted, dtype=torch.float32)
    places = ((torch.arange(begin, end) + 0.5) * scale - 0.5).clamp(min=0)
    low = places.long().clamp(max=given - 1)
    high = (low + 1).clamp(max=given - 1)
    first = int(low[0])
    return _Taps(first, int(high[-1]) + 1, low - first, high - first, places - low)
