"""Factorized attention over rows of tokens and its gradient, by image and by head without copies."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from coatseg.models.backbones.kernels import matmul
from coatseg.models.backbones.kernels.matmul import at_least_float
from coatseg.models.backbones.tokens import Shape, Tokens

NARROW = 8
"""On a CPU, heads of at most this many channels are multiplied faster as one block-diagonal matrix."""
LOG2_E = math.log2(math.e)


class Softmax(NamedTuple):
    """`rows` of exp(K - `largest`) for keys K, and their `total` over all tokens (B, C), in float32 or better."""

    rows: Tensor
    largest: Tensor
    total: Tensor


def exponentials(keys: Tokens, largest: Tensor | None = None, total: Tensor | None = None) -> Softmax:
    """Compute exp(K - max K) and its sum, whose quotient is the softmax; `largest` and `total` may be given if known.

    Padding counts as -inf. Softmax does not change when all keys are shifted alike, so no gradient flows through the
    largest one.
    """
    rows = torch.empty(keys.rows.shape, dtype=at_least_float(keys.rows[:0]).dtype, device=keys.rows.device)
    rows.copy_(keys.rows)
    image, cls = by_image(rows, keys.shape)
    if keys.valid is not None:
        image.masked_fill_(~keys.valid.mask.flatten(1)[..., None], -math.inf)
    if largest is None:
        largest = torch.maximum(image.amax(1), cls[:, 0])
    image.sub_(largest[:, None])
    cls.sub_(largest[:, None])
    rows.mul_(LOG2_E).exp2_()  # PyTorch's exp takes four times as long on CPUs that are not Intel's
    return Softmax(rows, largest, image.sum(1) + cls[:, 0] if total is None else total)


def summarize(softmax: Softmax, values: Tokens, heads: int) -> Tensor:
    """Sum the values, weighted by the softmax of the keys over all tokens, to (B, heads, d, d) float32 or better."""
    rows = products(values.rows)
    summed = at_least_float(contract_heads(softmax.rows.to(rows.dtype), rows, values.shape, heads))
    return summed / by_row(softmax.total, heads)


def factorized_backward(
    gradient: Tensor,
    queries: Tokens,
    softmax: Softmax,
    values: Tokens,
    context: Tensor,
    out: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Write to `out` the gradients of factorized attention by queries, keys and values, rows (M, C) each.

    Of A = s Q C with the context C = E^T V / t, row by row, where E are the exponentials and t their total:
    dQ = s dA C^T, dC = s Q^T dA, and with dC / t = D: dV = E D, dE = V D^T - (D C summed over each row), dK = E dE.
    """
    by_queries, by_keys, by_values = out
    shape, heads, dtype = queries.shape, context.shape[1], gradient.dtype
    scale = context.shape[-1] ** -0.5
    multiply_heads(gradient, (context * scale).mT.to(dtype), by_queries, shape)
    by_context = contract_heads(products(queries.rows), products(gradient), shape, heads).to(context.dtype) * scale
    by_sum = by_context / by_row(softmax.total, heads)
    multiply_heads(softmax.rows.to(dtype), by_sum.to(dtype), by_values, shape)
    by_exponentials = torch.empty_like(by_values, memory_format=torch.contiguous_format)
    multiply_heads(values.rows, by_sum.mT.to(dtype), by_exponentials, shape)
    by_total = -(by_sum * context).sum(-1).flatten(1)
    image, cls = torch.split(by_exponentials, shape.parts)
    image.view(shape.batch, -1, image.shape[1]).add_(by_total[:, None])
    cls.add_(by_total)
    by_keys.copy_(by_exponentials.mul_(softmax.rows))


def by_row(total: Tensor, heads: int) -> Tensor:
    """View one number per channel (B, C) so that it broadcasts over the rows of matrices (B, heads, d, d)."""
    return total.view(len(total), heads, -1, 1)


def products(rows: Tensor) -> Tensor:
    """Return rows in the precision in which their products are summed: float32 for float16, which would overflow."""
    return rows.float() if rows.dtype == torch.float16 else rows


def multiply_heads(rows: Tensor, matrices: Tensor, out: Tensor, shape: Shape) -> None:
    """Write to `out` each head of (M, C) rows times its image's matrix, of (B, heads, d, d); nothing is copied."""
    heads, depth = matrices.shape[1:3]
    dense = depth <= NARROW and rows.device.type == "cpu"
    for given, found in zip(by_image(rows, shape), by_image(out, shape), strict=True):
        for of_given, of_found, of_heads in zip(given, found, matrices, strict=True):
            if dense:
                weight = torch.block_diag(*of_heads.mT)  # type: ignore[no-untyped-call]
                of_found.copy_(matmul.linear(of_given, weight))
            else:
                split = of_given.view(-1, heads, depth).transpose(0, 1)
                torch.bmm(split, of_heads, out=of_found.view(-1, heads, depth).transpose(0, 1))


def contract_heads(first: Tensor, second: Tensor, shape: Shape, heads: int) -> Tensor:
    """Sum the outer products of (M, C) rows over each image, by head: (B, heads, d, d)."""
    image, cls = (
        torch.stack([contract(*pair, heads) for pair in zip(one, other, strict=True)])
        for one, other in zip(by_image(first, shape), by_image(second, shape), strict=True)
    )
    return image + cls


def contract(first: Tensor, second: Tensor, heads: int) -> Tensor:
    """Sum the outer products of the rows of two (N, C) matrices, by head: (heads, d, d)."""
    depth = first.shape[1] // heads
    if depth <= NARROW and first.device.type == "cpu":
        return (first.mT @ second).view(heads, depth, heads, depth).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    one, other = (rows.view(-1, heads, depth).transpose(0, 1) for rows in (first, second))
    return torch.bmm(one.mT, other)


def by_image(rows: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Return views of rows (M, C) of tokens: the image tokens (B, H * W, C) and the class tokens (B, 1, C)."""
    image, cls = torch.split(rows, shape.parts)
    return image.view(shape.batch, -1, rows.shape[1]), cls[:, None]
