"""Multi-scale deformable sampling on a CPU: the weighted sums of a map's values at points between its pixels.

Deformable DETR (Zhu et al., 2021, equation 3) samples every level bilinearly, zero beyond its edges, and adds up the
samples by attention weights. That is a sparse matrix times the values, whose rows have four pixels for every point:
nothing of the size points x channels is made, neither here nor for the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.structures import Size

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""The pixels around a point: steps down and across from the one above and left of it."""


def sample(value: Tensor, shapes: Sequence[Size], places: Tensor, weights: Tensor) -> Tensor:
    """Return the sums of values at places, (B, Q, heads * D), in the precision of `value`; computed in float32.

    `value` (B, all pixels, heads, D) holds the levels of `shapes` (height, width) one after the other, `places`
    (B, Q, heads, levels, points, 2) are (x, y) as shares of a level's width and height, `weights` (B, Q, heads, levels,
    points) what each point counts.
    """
    sums: Tensor = _Sampling.apply(value.float(), places.float(), weights.float(), tuple(shapes))
    return sums.to(value.dtype)


class _Axis(NamedTuple):
    """The two pixels around points along one axis: their places, their shares, and the shares' derivatives.

    All are pairs of (N, levels, points). A pixel beyond the map has the share and the derivative 0, and the place of
    one that is on it.
    """

    places: tuple[Tensor, Tensor]
    shares: tuple[Tensor, Tensor]
    steps: tuple[Tensor, Tensor]


def _around(places: Tensor, lengths: Tensor) -> _Axis:
    """Find the pixels around places (N, levels, points), shares of an axis of so many pixels in each level."""
    exact = places * lengths - 0.5
    low = exact.floor()
    part = exact - low
    inside = ((low >= 0) & (low < lengths)).float(), ((low >= -1) & (low < lengths - 1)).float()
    kept = torch.minimum(low.clamp(min=0), lengths - 1), torch.minimum((low + 1).clamp(min=0), lengths - 1)
    shares = (1 - part) * inside[0], part * inside[1]
    return _Axis((kept[0].long(), kept[1].long()), shares, (-inside[0] * lengths, inside[1] * lengths))


class _Points(NamedTuple):
    """The points of N sums along both axes, and the rows of their pixels by corner, (N, levels, points) each."""

    across: _Axis
    down: _Axis
    rows: list[Tensor]

    @classmethod
    def of(cls, places: Tensor, shapes: Sequence[Size], pixels: int) -> _Points:
        """Find the points of places (B, Q, heads, levels, points, 2) in values (B * pixels * heads, D)."""
        batch, queries, heads = places.shape[:3]
        sizes = places.new_tensor(shapes)
        areas = sizes.prod(1)
        x, y = places.flatten(0, 2).unbind(-1)
        across, down = _around(x, sizes[:, 1:]), _around(y, sizes[:, :1])
        image, head = torch.arange(batch, device=x.device), torch.arange(heads, device=x.device)
        first = (image[:, None, None] * pixels * heads + head).expand(-1, queries, -1).reshape(-1, 1, 1)
        first = first + ((areas.cumsum(0) - areas).long() * heads)[:, None]
        width = sizes[:, 1:].long()
        lines = [first + line * (width * heads) for line in down.places]
        return cls(across, down, [lines[j] + across.places[i] * heads for j, i in CORNERS])

    def weights(self, counts: Tensor) -> list[Tensor]:
        """Return what each pixel counts, by corner, where points count `counts` (N, levels, points)."""
        shares = [counts * share for share in self.down.shares]
        return [shares[j] * self.across.shares[i] for j, i in CORNERS]


class _Sampling(torch.autograd.Function):
    """The sums, and what their gradients are: the points are found anew there, since to keep them takes memory."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, places: Tensor, weights: Tensor, shapes: tuple[Size, ...]) -> Tensor:
        ctx.save_for_backward(value, places, weights)
        ctx.shapes = shapes
        batch, queries = places.shape[:2]
        points = _Points.of(places, shapes, value.shape[1])
        rows = torch.cat(points.rows, dim=-1).flatten(1)
        shares = torch.cat(points.weights(weights.flatten(0, 2)), dim=-1).flatten(1)
        sums = functional.embedding_bag(rows, value.flatten(0, 2), per_sample_weights=shares, mode="sum")
        return sums.view(batch, queries, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        value, places, weights = ctx.saved_tensors
        points = _Points.of(places, ctx.shapes, value.shape[1])
        table, counts = value.flatten(0, 2), weights.flatten(0, 2)
        above = gradients[0].reshape(len(counts), -1)
        of_table = torch.zeros_like(table)
        dots = []
        for rows, shares in zip(points.rows, points.weights(counts), strict=True):
            dots.append(_corner(table, of_table, above, rows, shares))
        (near, far), (near_step, far_step) = points.across.shares, points.across.steps
        lines = [dots[0] * near + dots[1] * far, dots[2] * near + dots[3] * far]
        (upper, lower), (upper_step, lower_step) = points.down.shares, points.down.steps
        steps = [dots[0] * near_step + dots[1] * far_step, dots[2] * near_step + dots[3] * far_step]
        of_counts = lines[0] * upper + lines[1] * lower
        of_x = counts * (steps[0] * upper + steps[1] * lower)
        of_y = counts * (lines[0] * upper_step + lines[1] * lower_step)
        of_places = torch.stack([of_x, of_y], dim=-1).view_as(places)
        return of_table.view_as(value), of_places, of_counts.view_as(weights), None


def _corner(table: Tensor, of_table: Tensor, above: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    """Add the gradient of one pixel of every point to `of_table`, and return its product with the pixel's value.

    `above` (N, D) are the gradients of the sums; `rows` and `shares` (N, levels, points) as the product is. One point
    of all sums at a time, so that what is held is as large as the sums.
    """
    places, parts = rows.flatten(1).t().contiguous(), shares.flatten(1).t().contiguous()
    products = torch.empty_like(parts)
    for place, part, product in zip(places, parts, products, strict=True):
        torch.sum(table.index_select(0, place).mul_(above), dim=1, out=product)
        of_table.index_add_(0, place, above * part[:, None])
    return products.t().reshape(rows.shape)
