"""The computations of attention.py at full speed, for training and inference: less kept, less copied.

Each is an autograd function with a gradient of its own. It keeps what it was given and small statistics; norms, GELU,
exponentials, hidden maps and position encodings, which are cheap to compute and large to store, are computed again in
the backward pass. Wide hidden maps exist for some rows at a time.

Under autocast, matrix products are in its precision and everything else in that of the rows; statistics and sums over
many tokens are in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812

from coatseg.backbones import depthwise, matmul
from coatseg.backbones.factorized import exponentials, factorized_backward, multiply_heads, summarize
from coatseg.backbones.matmul import Gradients, at_least_float
from coatseg.backbones.tokens import Shape, Tokens
from coatseg.precision import full_precision, working_dtype

if TYPE_CHECKING:
    from coatseg.backbones.attention import RelativePositionEncoding
    from coatseg.backbones.padding import Valid

KEPT_RATIO = 4
"""Hidden maps of up to so many times the channels are kept: computing them again takes long for what they hold."""
HIDDEN_BYTES = 8 * 2**20
"""How much of a larger hidden map exists at once on a CPU; other devices have enough memory for all of it."""
PLAIN_LAYERS = (nn.Linear, nn.LayerNorm, nn.Conv2d)


def applies(rows: Tensor, *layers: nn.Module) -> bool:
    """Say whether to compute as here, by the layers' weights and biases instead of the layers.

    Not in graphs that are compiled, exported, traced or only counted, not for a batch of no images, and not by layers
    that are more than their parameters: adapters in their place, pruned or parametrised ones, and those that hooks look
    at.
    """
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if torch.compiler.is_compiling() or tracing or rows.device.type == "meta" or len(rows) == 0:
        return False
    return all(map(is_plain, layers))


def is_plain(layer: nn.Module) -> bool:
    """Say whether a layer is one of torch's own, with a bias, that nothing is attached to."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return type(layer) in PLAIN_LAYERS and layer.bias is not None and not any(hooks)


def gradient_of(function: Callable[[Any, Tensor], tuple[Tensor | None, ...]]) -> Any:
    """Make a backward function: not differentiable again, and in full precision under an autocast that is still on."""

    @wraps(function)
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with full_precision(gradient.device):
            return function(ctx, gradient)

    return once_differentiable(backward)


def parameters(*layers: nn.Module) -> list[Tensor]:
    """Give weight and bias of each layer."""
    return [part for layer in layers for part in (layer.weight, layer.bias)]  # type: ignore[misc]


def linear(layer: nn.Linear, tokens: Tokens) -> Tokens:
    """Apply a linear layer to every token."""
    rows = tokens.rows
    return tokens._replace(rows=AddedLinear.apply(None, rows, None, working_dtype(rows), *parameters(layer)))


def add_linear(layer: nn.Linear, tokens: Tokens, branch: Tokens, kept: Tensor | None) -> Tokens:
    """Add to tokens a linear layer over a branch, each row scaled by its `kept` (M, 1)."""
    dtype = working_dtype(branch.rows)
    return tokens._replace(rows=AddedLinear.apply(tokens.rows, branch.rows, kept, dtype, *parameters(layer)))


def normed_linear(norm: nn.LayerNorm, layer: nn.Linear, tokens: Tokens) -> Tokens:
    """Apply a linear layer to normalised tokens."""
    rows = tokens.rows
    return tokens._replace(rows=NormedLinear.apply(rows, working_dtype(rows), norm.eps, *parameters(norm, layer)))


def add_mlp(norm: nn.LayerNorm, wide: nn.Linear, narrow: nn.Linear, tokens: Tokens, kept: Tensor | None) -> Tokens:
    """Add to tokens an MLP over them normalised, each row scaled by its `kept` (M, 1)."""
    rows = tokens.rows
    layers = parameters(norm, wide, narrow)
    return tokens._replace(rows=AddedMLP.apply(rows, kept, working_dtype(rows), norm.eps, *layers))


def add_convolution(tokens: Tokens, convolution: nn.Conv2d) -> Tokens:
    """Add to image tokens a depthwise convolution of them."""
    return tokens._replace(
        rows=AddedConvolution.apply(tokens.rows, tokens.shape, tokens.valid, *parameters(convolution))
    )


def conv_attention(packed: Tokens, heads: int, crpe: RelativePositionEncoding | None) -> Tokens:
    """Attend: tokens of 3C channels, queries, keys and values, to C channels."""
    channels = () if crpe is None else tuple(crpe.channels)
    windows = () if crpe is None else parameters(*crpe.conv_list)
    rows = ConvAttention.apply(packed.rows, packed.shape, packed.valid, heads, channels, *windows)
    return packed._replace(rows=rows)


# Token by token


class AddedLinear(Function):
    """A linear layer over rows, added to others."""

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
        """Give the gradients of the residual, the rows and the layer."""
        rows, kept, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        by_branch = scaled(gradient, kept).to(weight.dtype)
        by_rows, *by_layer = matmul.linear_backward(by_branch, rows.to(weight.dtype), weight, *trained(ctx, 1))
        by_residual = None if ctx.residual_dtype is None else gradient.to(ctx.residual_dtype)
        return by_residual, by_rows.to(rows.dtype), None, None, *by_layer


class NormedLinear(Function):
    """A linear layer over normalised rows, which are normalised again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, dtype: torch.dtype, eps: float, *layers: Tensor) -> Tensor:
        """Map (M, C) rows to (M, outputs); the layers are weight and bias of the norm, then of the linear layer."""
        with full_precision(rows.device):
            norm, (weight, bias) = layers[:2], cast(layers[2:], dtype)
            ctx.save_for_backward(rows, weight, *norm)
            ctx.eps = eps
            return matmul.linear(normalize(rows, norm, eps).rows.to(dtype), weight, bias)

    @staticmethod
    @gradient_of
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of the rows and the layers."""
        rows, weight, *norm = ctx.saved_tensors
        norm_trained, layer_trained = trained(ctx, 2)
        normed = normalize(rows, norm, ctx.eps)
        given = normed.rows.to(weight.dtype)
        by_normed, *by_layer = matmul.linear_backward(gradient.contiguous(), given, weight, layer_trained)
        by_rows, *by_norm = normalize_backward(by_normed, rows, normed, norm, norm_trained)
        return by_rows, None, None, *by_norm, *by_layer


class AddedMLP(Function):
    """Rows plus an MLP over them normalised; the rows are kept, and the hidden map before GELU unless it is wide."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, kept: Tensor | None, dtype: torch.dtype, eps: float, *layers: Tensor) -> Tensor:
        """Map (M, C) rows; `kept` (M, 1) scales what is added.

        The layers are weight and bias of the norm, of the layer that widens, and of the one that narrows.
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
        """Give the gradients of the rows and the layers."""
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
    """Rows over whose channels a layer norm went, with its statistics."""

    rows: Tensor
    mean: Tensor
    rstd: Tensor


def normalize(rows: Tensor, norm: Sequence[Tensor], eps: float) -> Normed:
    """Apply a layer norm, given its weight and bias."""
    return Normed(*torch.native_layer_norm(rows, [rows.shape[-1]], norm[0], norm[1], eps))


def normalize_backward(
    gradient: Tensor, rows: Tensor, normed: Normed, norm: Sequence[Tensor], trained: bool
) -> Gradients:
    """Give the gradients of a layer norm by its rows and, if they are trained, weight and bias."""
    gradients: Gradients = torch.ops.aten.native_layer_norm_backward(
        gradient.to(rows.dtype), rows, [rows.shape[-1]], normed.mean, normed.rstd, *norm, [True, trained, trained]
    )
    return gradients


def plus(rows: Tensor, branch: Tensor, kept: Tensor | None, out: Tensor | None = None) -> Tensor:
    """Add a branch, scaled by `kept`, to rows, in their precision."""
    branch = scaled(branch, kept).to(rows.dtype)
    return torch.add(rows, branch, out=out)


def scaled(rows: Tensor, kept: Tensor | None) -> Tensor:
    """Scale each row by its `kept`, if there is one."""
    return rows if kept is None else rows * kept.to(rows.dtype)


def keeps(wide: Tensor) -> bool:
    """Say whether the hidden map that a (hidden, C) weight leads to is kept for the backward pass."""
    return len(wide) <= KEPT_RATIO * wide.shape[1]


def parts(rows: Tensor, wide: Tensor) -> Iterator[slice]:
    """Cut rows into even parts whose hidden map, if it is not kept, is of limited size on a CPU."""
    total = len(rows)
    limited = rows.device.type == "cpu" and not keeps(wide)
    most = HIDDEN_BYTES // (len(wide) * wide.dtype.itemsize) if limited else total
    count = math.ceil(total / max(1, math.ceil(total / max(1, most))))
    for start in range(0, total, count):
        yield slice(start, start + count)


def cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Give tensors in a precision."""
    return [tensor.to(dtype) for tensor in tensors]


def added(sums: list[Tensor | None], terms: list[Tensor | None]) -> list[Tensor | None]:
    """Add terms to their sums, of which there are none at first; what is not trained has no term."""
    if not sums:
        return terms
    return [None if term is None else total.add_(term) for total, term in zip(sums, terms, strict=True)]  # type: ignore[union-attr]


def trained(ctx: Any, count: int) -> list[bool]:
    """Say of each of the `count` layers, which a function takes last, by weight and bias, whether it is trained."""
    needed = ctx.needs_input_grad[len(ctx.needs_input_grad) - 2 * count :]
    return [weight or bias for weight, bias in zip(needed[::2], needed[1::2], strict=True)]


# Across tokens


class AddedConvolution(Function):
    """Image tokens plus a depthwise convolution of them; class tokens as they are."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, shape: Shape, valid: Valid | None, weight: Tensor, bias: Tensor) -> Tensor:
        """Map rows (M, C) of tokens; the convolution sees zeros in place of padding."""
        with full_precision(rows.device):
            ctx.save_for_backward(rows, weight)
            ctx.shape, ctx.valid = shape, valid
            image, cls = Tokens(rows, shape).split()
            seen = image if valid is None else valid.keep(image)
            out = torch.empty_like(rows)
            out_image, out_cls = Tokens(out, shape).split()
            torch.add(image, depthwise.convolve(seen, weight.to(rows.dtype), bias.to(rows.dtype)), out=out_image)
            out_cls.copy_(cls)
            return out

    @staticmethod
    @gradient_of
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of the rows and of the convolution."""
        rows, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        by_seen = Tokens(gradient, ctx.shape).image
        seen = Tokens(rows, ctx.shape, ctx.valid).within()
        by_image = depthwise.gradient_by_image(by_seen, weight.to(rows.dtype))
        by_rows = gradient.clone()
        Tokens(by_rows, ctx.shape).image.add_(by_image if ctx.valid is None else ctx.valid.keep(by_image))
        by_layer = depthwise_backward(by_seen, seen, weight, *trained(ctx, 1))
        return by_rows, None, None, *by_layer


class ConvAttention(Function):
    """Factorized attention plus the relative position encoding; keeps queries, keys and values."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        shape: Shape,
        valid: Valid | None,
        heads: int,
        channels: Sequence[int],
        *windows: Tensor,
    ) -> Tensor:
        """Map queries, keys and values side by side in rows (M, 3C) to rows (M, C).

        `windows` are weight and bias of the depthwise convolution over each of the groups of `channels`.
        """
        with full_precision(rows.device):
            queries, keys, values = rows.chunk(3, 1)
            softmax = exponentials(Tokens(keys, shape, valid))
            context = summarize(softmax, Tokens(values, shape), heads)
            ctx.save_for_backward(rows, softmax.largest, softmax.total, context, *windows)
            ctx.shape, ctx.valid, ctx.heads, ctx.channels = shape, valid, heads, channels
            out = torch.empty_like(queries, memory_format=torch.contiguous_format)
            multiply_heads(queries, (context * context.shape[-1] ** -0.5).to(rows.dtype), out, shape)
            image, image_queries = Tokens(out, shape).image, Tokens(queries, shape).image
            seen = Tokens(values, shape, valid).within()
            for group, weight, bias in zip(groups(channels), windows[::2], windows[1::2], strict=True):
                window = depthwise.convolve(seen[:, group], weight.to(rows.dtype), bias.to(rows.dtype))
                image[:, group].addcmul_(image_queries[:, group], window)
            return out

    @staticmethod
    @gradient_of
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of queries, keys and values, and of the windows."""
        rows, largest, total, context, *windows = ctx.saved_tensors
        shape, valid = ctx.shape, ctx.valid
        gradient = gradient.contiguous()
        queries, keys, values = (Tokens(part, shape, valid) for part in rows.chunk(3, 1))
        by_rows = torch.empty_like(rows)
        by_queries, by_keys, by_values = by_rows.chunk(3, 1)
        softmax = exponentials(keys, largest, total)
        factorized_backward(gradient, queries, softmax, values, context, (by_queries, by_keys, by_values))

        by_image, image_queries, seen = Tokens(gradient, shape).image, queries.image, values.within()
        by_image_queries, by_seen_values = Tokens(by_queries, shape).image, Tokens(by_values, shape).image
        by_windows: list[Tensor | None] = []
        layers = zip(groups(ctx.channels), windows[::2], windows[1::2], trained(ctx, len(windows) // 2), strict=True)
        for group, weight, bias, window_trained in layers:
            kernel = weight.to(rows.dtype)
            given = seen[:, group].contiguous(memory_format=torch.channels_last)
            by_image_queries[:, group].addcmul_(
                by_image[:, group], depthwise.convolve(given, kernel, bias.to(rows.dtype))
            )
            by_window = by_image[:, group] * image_queries[:, group]
            by_given = depthwise.gradient_by_image(by_window, kernel)
            by_seen_values[:, group].add_(by_given if valid is None else valid.keep(by_given))
            by_windows.extend(depthwise_backward(by_window, given, weight, window_trained))
        return by_rows, None, None, None, None, *by_windows


def depthwise_backward(gradient: Tensor, image: Tensor, weight: Tensor, trained: bool) -> list[Tensor | None]:
    """Give the gradients of a depthwise convolution by its weight and bias, if they are trained."""
    if not trained:
        return [None, None]
    by_weight = depthwise.gradient_by_weight(gradient, image, weight.shape[-1])
    return [by_weight, at_least_float(gradient.sum((0, 2, 3)))]


def groups(channels: Sequence[int]) -> Iterator[slice]:
    """Give the slice of each group of channels."""
    start = 0
    for count in channels:
        yield slice(start, start + count)
        start += count
