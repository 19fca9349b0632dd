"""Layers that map each token by itself, linear layers, norms and MLPs, as functions with lean gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from coatseg.models.backbones.kernels import matmul
from coatseg.models.backbones.kernels.matmul import Gradients
from coatseg.models.precision import full_precision

KEPT_RATIO = 4
"""Hidden maps of up to this many times the channels are stored: computing them again takes long for what it saves."""
HIDDEN_BYTES = 8 * 2**20
"""Bytes of a larger hidden map that exist at once on a CPU; other devices have enough memory for all of it."""


def gradient_of(function: Callable[[Any, Tensor], tuple[Tensor | None, ...]]) -> Any:
    """Make a backward function that cannot be differentiated again and turns off an autocast that is still on."""

    @wraps(function)
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with full_precision(gradient.device):
            return function(ctx, gradient)

    return once_differentiable(backward)


class AddedLinear(Function):
    """A linear layer over rows, added to a residual if there is one."""

    @staticmethod
    def forward(
        ctx: Any, residual: Tensor | None, rows: Tensor, kept: Tensor | None, dtype: torch.dtype, *layer: Tensor
    ) -> Tensor:
        """Map (M, inputs) rows to (M, outputs); `kept` (M, 1) scales what is added to the residual, if there is one."""
        with full_precision(rows.device):
            weight, bias = cast(layer, dtype)
            ctx.save_for_backward(rows, kept, weight)
            ctx.residual_dtype = None if residual is None else residual.dtype
            branch = matmul.linear(rows.to(dtype), weight, bias)
            return branch if residual is None else plus(residual, branch, kept)

    @staticmethod
    @gradient_of
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the residual, the rows and the layer."""
        rows, kept, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        by_branch = scaled(gradient, kept).to(weight.dtype)
        by_rows, *by_layer = matmul.linear_backward(by_branch, rows.to(weight.dtype), weight, *trained(ctx, 1))
        by_residual = None if ctx.residual_dtype is None else gradient.to(ctx.residual_dtype)
        return by_residual, by_rows.to(rows.dtype), None, None, *by_layer


class NormedLinear(Function):
    """A norm and a linear layer over rows; the backward pass normalises the rows again instead of storing them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, dtype: torch.dtype, eps: float, *layers: Tensor) -> Tensor:
        """Map (M, C) rows to (M, outputs); `layers` are weight and bias of the norm, then of the linear layer."""
        with full_precision(rows.device):
            norm, (weight, bias) = layers[:2], cast(layers[2:], dtype)
            ctx.save_for_backward(rows, weight, *norm)
            ctx.eps = eps
            return matmul.linear(normalize(rows, norm, eps).rows.to(dtype), weight, bias)

    @staticmethod
    @gradient_of
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the rows and the layers."""
        rows, weight, *norm = ctx.saved_tensors
        norm_trained, layer_trained = trained(ctx, 2)
        normed = normalize(rows, norm, ctx.eps)
        given = normed.rows.to(weight.dtype)
        by_normed, *by_layer = matmul.linear_backward(gradient.contiguous(), given, weight, layer_trained)
        by_rows, *by_norm = normalize_backward(by_normed, rows, normed, norm, norm_trained)
        return by_rows, None, None, *by_norm, *by_layer


class AddedMLP(Function):
    """Rows plus an MLP over their norm; stores the rows, and the hidden map before GELU unless it is wide."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, kept: Tensor | None, dtype: torch.dtype, eps: float, *layers: Tensor) -> Tensor:
        """Map (M, C) rows to (M, C); `kept` (M, 1) scales the MLP's output before it is added.

        `layers` are weight and bias of the norm, of the layer that widens, and of the one that narrows.
        """
        with full_precision(rows.device):
            norm, wide, narrow = layers[:2], cast(layers[2:4], dtype), cast(layers[4:], dtype)
            out = torch.empty_like(rows)
            widened = None
            for part in parts(rows, wide[0]):
                widened = matmul.linear(normalize(rows[part], norm, eps).rows.to(dtype), *wide)
                branch = matmul.linear(F.gelu(widened), *narrow)
                plus(rows[part], branch, None if kept is None else kept[part], out=out[part])
            ctx.save_for_backward(rows, kept, widened if keeps(wide[0]) else None, *norm, *wide, *narrow)
            ctx.eps = eps
            return out

    @staticmethod
    @gradient_of
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the rows and the layers."""
        rows, kept, hidden, *layers = ctx.saved_tensors
        norm, wide, narrow = layers[:2], layers[2:4], layers[4:]
        norm_trained, wide_trained, narrow_trained = trained(ctx, 3)
        dtype = wide[0].dtype
        gradient = gradient.contiguous()
        by_rows = torch.empty_like(rows)
        sums: list[Tensor | None] = []
        for part in parts(rows, wide[0]):
            normed = normalize(rows[part], norm, ctx.eps)
            given = normed.rows.to(dtype)
            widened = matmul.linear(given, *wide) if hidden is None else hidden
            by_branch = scaled(gradient[part], None if kept is None else kept[part]).to(dtype)
            by_hidden, *by_narrow = matmul.linear_backward(by_branch, F.gelu(widened), narrow[0], narrow_trained)
            by_widened = torch.ops.aten.gelu_backward.grad_input(by_hidden, widened, grad_input=by_hidden)
            by_normed, *by_wide = matmul.linear_backward(by_widened, given, wide[0], wide_trained)
            by_part, *by_norm = normalize_backward(by_normed, rows[part], normed, norm, norm_trained)
            torch.add(gradient[part], by_part, out=by_rows[part])
            sums = added(sums, [*by_norm, *by_wide, *by_narrow])
        return by_rows, None, None, None, *sums


class Normed(NamedTuple):
    """Rows after a layer norm over their channels, with its statistics."""

    rows: Tensor
    mean: Tensor
    rstd: Tensor


def normalize(rows: Tensor, norm: Sequence[Tensor], eps: float) -> Normed:
    """Apply a layer norm, given its weight and bias."""
    return Normed(*torch.native_layer_norm(rows, [rows.shape[-1]], norm[0], norm[1], eps))


def normalize_backward(
    gradient: Tensor, rows: Tensor, normed: Normed, norm: Sequence[Tensor], trained: bool
) -> Gradients:
    """Return the gradients of a layer norm by its rows and, if they are trained, weight and bias."""
    gradients: Gradients = torch.ops.aten.native_layer_norm_backward(
        gradient.to(rows.dtype), rows, [rows.shape[-1]], normed.mean, normed.rstd, *norm, [True, trained, trained]
    )
    return gradients


def plus(rows: Tensor, branch: Tensor, kept: Tensor | None, out: Tensor | None = None) -> Tensor:
    """Add a branch, scaled by `kept`, to rows, in the precision of the rows."""
    branch = scaled(branch, kept).to(rows.dtype)
    return torch.add(rows, branch, out=out)


def scaled(rows: Tensor, kept: Tensor | None) -> Tensor:
    """Scale each row by its entry of `kept`, if that is given."""
    return rows if kept is None else rows * kept.to(rows.dtype)


def keeps(wide: Tensor) -> bool:
    """Return whether the hidden map that a (hidden, C) weight computes is stored for the backward pass."""
    return len(wide) <= KEPT_RATIO * wide.shape[1]


def parts(rows: Tensor, wide: Tensor) -> Iterator[slice]:
    """Cut rows into even parts whose hidden map, if it is not stored, is of limited size on a CPU."""
    total = len(rows)
    limited = rows.device.type == "cpu" and not keeps(wide)
    most = HIDDEN_BYTES // (len(wide) * wide.dtype.itemsize) if limited else total
    count = math.ceil(total / max(1, math.ceil(total / max(1, most))))
    for start in range(0, total, count):
        yield slice(start, start + count)


def cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Return tensors converted to a precision."""
    return [tensor.to(dtype) for tensor in tensors]


def added(sums: list[Tensor | None], terms: list[Tensor | None]) -> list[Tensor | None]:
    """Add terms to their sums, which are empty at first; parameters that are not trained have None for a term."""
    if not sums:
        return terms
    return [None if term is None else total.add_(term) for total, term in zip(sums, terms, strict=True)]  # type: ignore[union-attr]


def trained(ctx: Any, count: int) -> list[bool]:
    """Return whether each of `count` layers is trained, whose weights and biases are the last inputs of a function."""
    needed = ctx.needs_input_grad[len(ctx.needs_input_grad) - 2 * count :]
    return [weight or bias for weight, bias in zip(needed[::2], needed[1::2], strict=True)]
