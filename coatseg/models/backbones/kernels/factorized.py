"""Factorized attention over rows of tokens, image by image and head by head without copies, and its gradient."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from coatseg.models.backbones.kernels import matmul
from coatseg.models.backbones.kernels.matmul import at_least_float
from coatseg.models.backbones.tokens import Shape, Tokens

NARROW = 8
"""Heads of so few channels are multiplied faster as one matrix with zeros between them, on a CPU."""
LOG2_E = math.log2(math.e)


class Softmax(NamedTuple):
    """Exponentials `rows` of keys less the `largest`, and their `total` over all tokens (B, C), float32 or better."""

    rows: Tensor
    largest: Tensor
    total: Tensor


def exponentials(keys: Tokens, largest: Tensor | None = None, total: Tensor | None = None) -> Softmax:
    """Give exp(K - max K) and its sum, where they are not known already; a softmax is their quotient.

    Padding counts as -inf. Softmax does not change when all keys move by as much, so no gradient flows through the
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
    """Sum the values, weighted by the softmax of the keys over all tokens: (B, heads, d, d) float32 or better."""
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
    """Write the gradients of factorized attention by queries, keys and values, rows (M, C) each.

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
    """View one number a channel (B, C) so that it goes with the rows of matrices (B, heads, d, d)."""
    return total.view(len(total), heads, -1, 1)


def products(rows: Tensor) -> Tensor:
    """Give rows as their products are to be summed: float16 would overflow."""
    return rows.float() if rows.dtype == torch.float16 else rows


def multiply_heads(rows: Tensor, matrices: Tensor, out: Tensor, shape: Shape) -> None:
    """Write each head's channels of (M, C) rows times the (B, heads, d, d) matrix of its image; nothing is copied."""
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
    """Sum the outer products of (M, C) rows of each image, head by head: (B, heads, d, d)."""
    image, cls = (
        torch.stack([contract(*pair, heads) for pair in zip(one, other, strict=True)])
        for one, other in zip(by_image(first, shape), by_image(second, shape), strict=True)
    )
    return image + cls


def contract(first: Tensor, second: Tensor, heads: int) -> Tensor:
    """Sum the outer products of two (N, C), head by head: (heads, d, d)."""
    depth = first.shape[1] // heads
    if depth <= NARROW and first.device.type == "cpu":
        return (first.mT @ second).view(heads, depth, heads, depth).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    one, other = (rows.view(-1, heads, depth).transpose(0, 1) for rows in (first, second))
    return torch.bmm(one.mT, other)


def by_image(rows: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """View rows (M, C) of tokens as those of the images (B, H * W, C) and the class tokens (B, 1, C)."""
    image, cls = torch.split(rows, shape.parts)
    return image.view(shape.batch, -1, rows.shape[1]), cls[:, None]
