"""Multi-scale deformable sampling on a CPU: the weighted sums of a map's values at points between its pixels.

Deformable DETR (Zhu et al., 2021, equation 3) samples every level bilinearly, zero beyond its edges, and adds up the
samples by attention weights. That is a sparse matrix times the values, whose rows have four pixels for every point:
nothing of the size points x channels is made. The gradient of the values is the transposed matrix times that of the
sums; the gradients of places and weights need the products of the sums' gradients with the pixels that points see.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from typing import Any

import scipy.sparse
import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.query.sampling_layout import Points, Table
from coatseg.structures import Size


def sample(value: Tensor, shapes: Sequence[Size], places: Tensor, weights: Tensor) -> Tensor:
    """Return the sums of values at places, (B, Q, heads * D), in the precision of `value`; computed in float32.

    `value` (B, all pixels, heads, D) holds the levels of `shapes` (height, width) one after the other, `places`
    (B, Q, heads, levels, points, 2) are (x, y) as shares of a level's width and height, `weights` (B, Q, heads, levels,
    points) what each point counts.
    """
    sums: Tensor = _Sampling.apply(value.float().contiguous(), places.float(), weights.float(), tuple(shapes))
    return sums.to(value.dtype)


class _Sampling(torch.autograd.Function):
    """The sums, and what their gradients are: the points are found anew there, since to keep them takes memory."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, places: Tensor, weights: Tensor, shapes: tuple[Size, ...]) -> Tensor:
        ctx.save_for_backward(value, places, weights)
        ctx.table = table = Table.of(shapes, value.shape[2])
        sums = value.new_empty(*places.shape[:3], value.shape[3])
        for image, values in enumerate(value):
            points = Points.of(places[image], weights[image], table)
            rows, shares = points.seen().flatten(1), points.shares().flatten(1)
            found = functional.embedding_bag(rows, table.filled(values), per_sample_weights=shares, mode="sum")
            sums[image] = found.view_as(sums[image])
        return sums.flatten(2)

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        value, places, weights = ctx.saved_tensors
        table = ctx.table
        of_value, of_places, of_weights = (torch.empty_like(tensor) for tensor in (value, places, weights))
        sides = places.new_tensor([(width, height) for height, width in table.shapes])[:, None]
        points = [Points.of(*of_image, table) for of_image in zip(places, weights, strict=True)]
        of_sums = above[0].view(len(value), len(points[0].rows), -1)
        for image, (of_image, transposed) in enumerate(zip(points, _transposed(points, table), strict=True)):
            products = _products(of_sums[image], table.filled(value[image]), of_image.seen().flatten(1))
            of_x, of_y, of_counts = _of_points(of_image, products)
            of_places[image] = torch.stack([of_x, of_y], dim=-1).view_as(places[image]) * sides
            of_weights[image] = of_counts.view_as(weights[image])
            table.empty(_product(transposed, of_sums[image]), of_value[image])
        return of_value, of_places, of_weights, None


def _products(above: Tensor, table: Tensor, rows: Tensor) -> Tensor:
    """Return the products (N, K) of each row of `above` (N, D) with its `rows` (N, K) of a table."""
    ends = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=torch.int32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        places = torch.sparse_csr_tensor(
            ends, rows.flatten(), above.new_zeros(rows.numel()), (len(rows), len(table)), check_invariants=False
        )
    found: Tensor = torch.sparse.sampled_addmm(places, above, table.t(), beta=0.0).values()
    return found.view_as(rows)


def _transposed(points: Sequence[Points], table: Table) -> list[Any]:
    """Return, for each image, the matrix of its sums and the table's rows by columns, an image a thread."""
    matrices = []
    for of_image in points:
        rows, shares = of_image.seen().flatten(1), of_image.shares().flatten(1)
        ends = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=torch.int32)
        parts = tuple(part.flatten().numpy() for part in (shares, rows, ends))
        matrices.append(scipy.sparse.csr_array(parts, (len(rows), table.cells * table.heads)))
    with ThreadPoolExecutor(min(len(matrices), torch.get_num_threads())) as threads:
        return list(threads.map(methodcaller("tocsc"), matrices))


def _product(columns: Any, above: Tensor) -> Tensor:
    """Return the product of `above` (N, D) with the transposed of a matrix by columns, whose rows are N."""
    sums, ends, counts = (torch.from_numpy(part) for part in (columns.indices, columns.indptr, columns.data))
    return functional.embedding_bag(sums, above, ends, per_sample_weights=counts, mode="sum", include_last_offset=True)


def _of_points(points: Points, products: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the points' x and y, in pixels, and of what they count, each (N, levels * points)."""
    above_left, above_right, below_left, below_right = products.chunk(4, dim=1)
    top = torch.lerp(above_left, above_right, points.across)
    bottom = torch.lerp(below_left, below_right, points.across)
    of_x = torch.lerp(above_right - above_left, below_right - below_left, points.down) * points.counts
    return of_x, (bottom - top) * points.counts, torch.lerp(top, bottom, points.down)
