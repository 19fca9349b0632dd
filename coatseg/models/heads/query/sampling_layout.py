"""Where deformable sampling finds its values: a table of all levels with zeros around each, and the points' rows in it.

With these zeros a point needs no look at edges: wherever it lies, it is moved to where it sees the same. All is of one
image, and laid out as the values and the points are, so that nothing has to be transposed.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from coatseg.structures import Size

EDGE = 2
"""Zeros before each row of a level, which are behind the row before it, and rows of zeros above and below a level."""


class Table(NamedTuple):
    """Where the levels lie in a table of `cells` pixels and zeros, a row of D values for each of `heads`.

    `firsts` are the levels' first cells.
    """

    shapes: tuple[Size, ...]
    firsts: tuple[int, ...]
    cells: int
    heads: int

    @classmethod
    def of(cls, shapes: tuple[Size, ...], heads: int) -> Table:
        """Return the table for levels of shapes (height, width)."""
        counts = [(height + 2 * EDGE) * (width + EDGE) for height, width in shapes]
        first, *others = accumulate(counts, initial=0)
        return cls(shapes, (first, *others[:-1]), others[-1] + EDGE, heads)

    def filled(self, value: Tensor) -> Tensor:
        """Lay out values (all pixels, heads, D) as a table (cells * heads, D)."""
        table = value.new_zeros(self.cells, *value.shape[1:])
        for number in range(len(self.shapes)):
            self._level(table, number).copy_(self._pixels(value, number))
        return table.flatten(0, 1)

    def empty(self, table: Tensor, value: Tensor) -> None:
        """Undo `filled`, into `value`."""
        table = table.view(self.cells, *value.shape[1:])
        for number in range(len(self.shapes)):
            self._pixels(value, number).copy_(self._level(table, number))

    def _level(self, table: Tensor, number: int) -> Tensor:
        """Return the part (height, width, heads, D) of a table that is no edge."""
        height, width = self.shapes[number]
        first, wide = self.firsts[number], width + EDGE
        part = table[first : first + (height + 2 * EDGE) * wide]
        return part.view(height + 2 * EDGE, wide, *table.shape[1:])[EDGE:-EDGE, EDGE:]

    def _pixels(self, value: Tensor, number: int) -> Tensor:
        height, width = self.shapes[number]
        first = sum(rows * columns for rows, columns in self.shapes[:number])
        return value[first : first + height * width].view(height, width, *value.shape[1:])


class Points(NamedTuple):
    """The points of N sums, those of all heads for the first query and so on.

    `rows` (N, levels * points) int32 are those of the table in which the pixel above and left of a point lies; the
    point is `across` and `down` from there, by shares of a pixel, and counts `counts`, all of that shape. The others of
    the four pixels that it sees are `steps` (4, levels * points) rows further: right, below, and both.
    """

    rows: Tensor
    across: Tensor
    down: Tensor
    counts: Tensor
    steps: Tensor

    @classmethod
    def of(cls, places: Tensor, weights: Tensor, table: Table) -> Points:
        """Return the points at places (Q, heads, levels, points, 2), by weights of that shape without the last."""
        queries, heads, levels, points, _ = places.shape
        sides = places.new_tensor([(width, height) for height, width in table.shapes])[:, None].expand(-1, points, -1)
        ends = sides + EDGE
        low = torch.addcmul(places.new_tensor(EDGE - 0.5), places, sides).clamp_(min=0).minimum(ends)
        cells = low.floor()
        low -= cells
        cells = cells.int().clamp_(min=0).minimum(ends.int())  # whatever a place is that is no number
        across, down = low.view(queries * heads, levels * points, 2).unbind(-1)
        wide = ends[..., 0].int()
        firsts = torch.tensor(table.firsts, dtype=torch.int32, device=places.device)[:, None]
        rows = torch.addcmul(cells[..., 0] + firsts, cells[..., 1], wide) * heads
        rows += torch.arange(heads, dtype=torch.int32, device=places.device)[:, None, None]
        below = wide.flatten() * heads
        right = torch.full_like(below, heads)
        steps = torch.stack([torch.zeros_like(below), right, below, below + right])
        return cls(rows.view(across.shape), across, down, weights.reshape(across.shape), steps)

    def seen(self) -> Tensor:
        """Return the rows that each sum sees, (N, 4, levels * points) int32."""
        return self.rows[:, None] + self.steps

    def shares(self) -> Tensor:
        """Return what these rows count, (N, 4, levels * points)."""
        below = self.down * self.counts
        lines = torch.stack([self.counts - below, below], dim=1)
        right = lines * self.across[:, None]
        return torch.stack([lines - right, right], dim=2).flatten(1, 2)
