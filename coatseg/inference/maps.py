"""Maps too large to hold, of pixels or logits: read where they are needed; mirrored, resized, averaged on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from coatseg.inference.augment import Activation
from coatseg.structures import Size

Rows = Callable[[int, int], Tensor]
"""Gives the rows from `top` to `bottom` of a strip (C, bottom - top, columns); asked for from the top downwards."""


class LargeMap(NamedTuple):
    """A map (C, height, width) of `size`: `strip(left, right)` opens these columns of it."""

    size: Size
    strip: Callable[[int, int], Rows]


def mirrored(given: LargeMap) -> LargeMap:
    """Exchange left and right."""
    width = given.size[1]

    def strip(left: int, right: int) -> Rows:
        rows = given.strip(width - right, width - left)
        return lambda top, bottom: rows(top, bottom).flip(-1)

    return LargeMap(given.size, strip)


def resized(given: LargeMap, size: Size) -> LargeMap:
    """Resize bilinearly, as `torch.nn.functional.interpolate` without aligned corners does."""
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
    """Average the probabilities of views of logits, as logits again."""

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
    """Which positions from `begin` to `end` are mixed into others: `low` and `high`, the latter by `share`."""

    begin: int
    end: int
    low: Tensor
    high: Tensor
    share: Tensor

    def mix(self, maps: Tensor, side: int) -> Tensor:
        """Mix along a side, -2 or -1."""
        low, high = (maps.index_select(side, tap.to(maps.device)) for tap in (self.low, self.high))
        share = self.share.to(maps)
        return torch.lerp(low, high, share if side == -1 else share[:, None])


def _taps(begin: int, end: int, given: int, wanted: int) -> _Taps:
    """Find what the positions from `begin` to `end` of a side of `wanted` pixels are mixed from, of `given` ones."""
    scale = torch.tensor(given / wanted, dtype=torch.float32)
    places = ((torch.arange(begin, end) + 0.5) * scale - 0.5).clamp(min=0)
    low = places.long().clamp(max=given - 1)
    high = (low + 1).clamp(max=given - 1)
    first = int(low[0])
    return _Taps(first, int(high[-1]) + 1, low - first, high - first, places - low)
