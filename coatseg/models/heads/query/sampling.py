"""Multi-scale deformable sampling on a CPU: the weighted sums of a map's values at points between its pixels.

Deformable DETR (Zhu et al., 2021, equation 3) samples every level bilinearly, zero beyond its edges, and adds up the
samples by attention weights. That is a sparse matrix times the values, whose rows have four pixels for every point:
nothing of the size points x channels is made, neither here nor for the backward pass.

The values are laid out in a table with zeros around each level, so that a point needs no look at edges: wherever it
lies, it is moved to where it sees the same. Numbers of points are laid out with the sums last, (points, N), as vectors
of a processor want it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.structures import Size

EDGE = 2
"""Zeros before each row of a level, which are behind the row before it, and rows of zeros above and below a level."""
AT_ONCE = 8192
"""For how many sums at once the backward pass goes through the points, so that what it holds stays near the core."""


def sample(value: Tensor, shapes: Sequence[Size], places: Tensor, weights: Tensor) -> Tensor:
    """Return the sums of values at places, (B, Q, heads * D), in the precision of `value`; computed in float32.

    `value` (B, all pixels, heads, D) holds the levels of `shapes` (height, width) one after the other, `places`
    (B, Q, heads, levels, points, 2) are (x, y) as shares of a level's width and height, `weights` (B, Q, heads, levels,
    points) what each point counts.
    """
    sums: Tensor = _Sampling.apply(value.float().contiguous(), places.float(), weights.float(), tuple(shapes))
    return sums.to(value.dtype)


class _Table(NamedTuple):
    """Where the levels lie in a table of rows of D values: `firsts` rows of a head's part, which has `rows` of them."""

    shapes: tuple[Size, ...]
    firsts: tuple[int, ...]
    rows: int

    @classmethod
    def of(cls, shapes: tuple[Size, ...]) -> _Table:
        counts = [(height + 2 * EDGE) * (width + EDGE) for height, width in shapes]
        first, *others = accumulate(counts, initial=0)
        return cls(shapes, (first, *others[:-1]), others[-1] + EDGE)

    def level(self, table: Tensor, number: int) -> Tensor:
        """Return the part (B, heads, height, width, D) of a table (B, heads, rows, D) that is no edge."""
        height, width = self.shapes[number]
        first, wide = self.firsts[number], width + EDGE
        part = table[:, :, first : first + (height + 2 * EDGE) * wide]
        return part.view(*table.shape[:2], height + 2 * EDGE, wide, -1)[:, :, EDGE:-EDGE, EDGE:]

    def pixels(self, value: Tensor, number: int) -> Tensor:
        """Return the level of values (B, all pixels, heads, D) as (B, heads, height, width, D)."""
        height, width = self.shapes[number]
        first = sum(rows * columns for rows, columns in self.shapes[:number])
        part = value[:, first : first + height * width]
        return part.view(len(value), height, width, *value.shape[2:]).permute(0, 3, 1, 2, 4)

    def filled(self, value: Tensor) -> Tensor:
        """Lay out values (B, all pixels, heads, D) as a table (B * heads * rows, D)."""
        batch, _, heads, width = value.shape
        table = value.new_zeros(batch, heads, self.rows, width)
        for number in range(len(self.shapes)):
            self.level(table, number).copy_(self.pixels(value, number))
        return table.flatten(0, 2)

    def emptied(self, table: Tensor, like: Tensor) -> Tensor:
        """Undo `filled`."""
        batch, _, heads, width = like.shape
        table, value = table.view(batch, heads, self.rows, width), torch.empty_like(like)
        for number in range(len(self.shapes)):
            self.pixels(value, number).copy_(self.level(table, number))
        return value


class _Points(NamedTuple):
    """The points of N sums: the row of the pixel above and left of each, and how far it is from there.

    All are (levels * points, N), the sums in the order of images, heads, queries; `wide` are the levels' rows in a row.
    """

    rows: Tensor
    across: Tensor
    down: Tensor
    wide: list[int]

    @classmethod
    def of(cls, places: Tensor, table: _Table) -> _Points:
        batch, queries, heads, levels, points, _ = places.shape
        x, y = places.permute(5, 3, 4, 0, 2, 1).reshape(2, levels, points, -1).contiguous()
        rows = torch.empty_like(x, dtype=torch.int64)
        for level, (height, width) in enumerate(table.shapes):
            columns = _cells(x[level], width)
            torch.add(columns, _cells(y[level], height), alpha=width + EDGE, out=rows[level])
            rows[level] += table.firsts[level]
        heads_first = torch.arange(batch * heads, device=x.device) * table.rows
        rows += heads_first.repeat_interleave(queries)
        wide = [width + EDGE for _, width in table.shapes for _ in range(points)]
        return cls(rows.flatten(0, 1), x.flatten(0, 1), y.flatten(0, 1), wide)

    def pairs(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the left and the right pixel of a point count together, where it counts `counts`."""
        right = self.across * counts
        return counts - right, right


def _cells(places: Tensor, length: int) -> Tensor:
    """Return the whole pixels, from the edge on, of places that are shares of a length; places become what is left."""
    places.mul_(length).add_(EDGE - 0.5).clamp_(0, length + EDGE)
    low = places.floor()
    places -= low
    return low.long().clamp_(0, length + EDGE)  # whatever a place is that is no number


def _by_point(numbers: Tensor) -> Tensor:
    """Lay out numbers (B, Q, heads, levels, points) as (levels * points, N)."""
    return numbers.permute(3, 4, 0, 2, 1).reshape(numbers.shape[3] * numbers.shape[4], -1)


class _Sampling(torch.autograd.Function):
    """The sums, and what their gradients are: the points are found anew there, since to keep them takes memory."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, places: Tensor, weights: Tensor, shapes: tuple[Size, ...]) -> Tensor:
        ctx.save_for_backward(value, places, weights)
        ctx.shapes = shapes
        batch, queries, heads = places.shape[:3]
        table = _Table.of(shapes)
        points = _Points.of(places, table)
        left, right = points.pairs(_by_point(weights))
        lower_left, lower_right = left * points.down, right * points.down
        shares = torch.cat([left - lower_left, right - lower_right, lower_left, lower_right]).t().contiguous()
        below = points.rows + torch.tensor(points.wide, device=value.device)[:, None]
        rows = torch.cat([points.rows, points.rows + 1, below, below + 1]).t().contiguous()
        sums = functional.embedding_bag(rows, table.filled(value), per_sample_weights=shares, mode="sum")
        return sums.view(batch, heads, queries, -1).transpose(1, 2).flatten(2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        value, places, weights = ctx.saved_tensors
        batch, queries, heads, levels, count, _ = places.shape
        table = _Table.of(ctx.shapes)
        points = _Points.of(places, table)
        counts = _by_point(weights)
        above = gradients[0].view(batch, queries, heads, -1).transpose(1, 2).reshape(batch * heads * queries, -1)
        upper, lower, of_table = _gradients(table.filled(value), points, counts, above)
        across, down = points.across, points.down
        top, bottom = torch.lerp(*upper, across), torch.lerp(*lower, across)
        widths = torch.tensor([width for _, width in ctx.shapes], device=value.device).repeat_interleave(count)
        heights = torch.tensor([height for height, _ in ctx.shapes], device=value.device).repeat_interleave(count)
        of_x = torch.lerp(upper[1] - upper[0], lower[1] - lower[0], down) * counts * widths[:, None]
        of_y = (bottom - top) * counts * heights[:, None]
        of_all = torch.stack([of_x, of_y, torch.lerp(top, bottom, down)])
        of_all = of_all.view(3, levels, count, batch, heads, queries).permute(3, 5, 4, 1, 2, 0)
        return table.emptied(of_table, value), of_all[..., :2], of_all[..., 2], None


def _gradients(
    table: Tensor, points: _Points, counts: Tensor, above: Tensor
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    """Return the products of `above` (N, D) with the pixels of each point, and the gradient of the table.

    The products are (points, N), of the left and the right pixel above a point and of those below it.
    """
    parts = points.pairs(counts)
    neighbours = torch.cat([table, table.roll(-1, 0)], dim=1)
    of_neighbours = torch.zeros_like(neighbours)
    lines = []
    for line in (0, 1):
        left, right = (part * points.down if line else part - part * points.down for part in parts)
        products = torch.empty(*points.rows.shape, 2, device=table.device)
        for begin in range(0, len(above), AT_ONCE):
            wanted = above[begin : begin + AT_ONCE]
            twice = wanted.repeat(1, 2)  # as broadcasting is slow over so few values
            seen, moved = torch.empty_like(twice), torch.empty_like(twice)
            moved_left, moved_right = moved.chunk(2, dim=1)
            for place, wide in enumerate(points.wide):
                here = place, slice(begin, begin + AT_ONCE)
                rows = points.rows[here] + line * wide
                torch.index_select(neighbours, 0, rows, out=seen)
                torch.sum(seen.mul_(twice).view(len(seen), 2, -1), dim=-1, out=products[here])
                torch.mul(wanted, left[here][:, None], out=moved_left)
                torch.mul(wanted, right[here][:, None], out=moved_right)
                of_neighbours.index_add_(0, rows, moved)
        lines.append((products[..., 0], products[..., 1]))
    width = table.shape[1]
    of_table = of_neighbours[:, :width].contiguous()
    of_table[1:] += of_neighbours[:-1, width:]
    return lines[0], lines[1], of_table
