"""Layers that combine tokens, depthwise convolutions and factorized attention, as functions with lean gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd import Function

from coatseg.models.backbones.kernels import depthwise
from coatseg.models.backbones.kernels.factorized_attention import (
    exponentials,
    factorized_backward,
    multiply_heads,
    summarize,
)
from coatseg.models.backbones.kernels.matmul import at_least_float
from coatseg.models.backbones.kernels.tokenwise import gradient_of, trained
from coatseg.models.backbones.tokens import Shape, Tokens
from coatseg.models.precision import full_precision

if TYPE_CHECKING:
    from coatseg.models.backbones.padding_mask import Valid


class AddedConvolution(Function):
    """Image tokens plus their depthwise convolution; class tokens are passed on unchanged."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, shape: Shape, valid: Valid | None, weight: Tensor, bias: Tensor) -> Tensor:
        """Map rows (M, C) of tokens to rows (M, C); the convolution sees zeros in place of padding."""
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
        """Return the gradients of the rows and of the convolution's weight and bias."""
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
    """Factorized attention plus the relative position encoding; stores queries, keys and values."""

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
        """Map queries, keys and values, side by side in rows (M, 3C), to rows (M, C).

        `windows` are weight and bias of the depthwise convolution over each group of channels, whose sizes are
        `channels`.
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
        """Return the gradients of queries, keys and values, and of the windows."""
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
    """Return the gradients of a depthwise convolution by its weight and bias; None for each if they are not trained."""
    if not trained:
        return [None, None]
    by_weight = depthwise.gradient_by_weight(gradient, image, weight.shape[-1])
    return [by_weight, at_least_float(gradient.sum((0, 2, 3)))]


def groups(channels: Sequence[int]) -> Iterator[slice]:
    """Yield the slice of each group of channels."""
    start = 0
    for count in channels:
        yield slice(start, start + count)
        start += count
