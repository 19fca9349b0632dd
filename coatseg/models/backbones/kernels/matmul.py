"""Linear layers over rows of tokens, each by the kernel that is fastest for its device and precision.

Measured on a CPU with AVX-512 and 2 threads, in GFLOP/s, over the shapes of CoaT-Lite Small at 512x512: in float32
matrix products (MKL) reach 150 to 200, 1x1 convolutions (oneDNN) 370 to 450; in bfloat16 600 to 800 and 800 to 890. The
gradient of the weights is as fast by a matrix product in bfloat16 (650 to 850) and by a convolution in float32 (300 to
400). On other devices matrix products are the usual choice.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

LEAST_NUMBERS = 20_480
"""PyTorch passes float32 convolutions of at most this many numbers to a kernel of its own instead of oneDNN."""

MANY_ROWS = 4096
"""From this many rows on, a bfloat16 convolution saves more time than the reordering of its weights costs."""

Gradients = tuple[Tensor, Tensor | None, Tensor | None]
"""The gradients by the rows, the weight and the bias of a layer; None for parameters that are not trained."""


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map (M, inputs) rows to (M, outputs) by a (outputs, inputs) weight and a bias, all of one dtype."""
    if not convolves(rows, rows.dtype == torch.float32 or (rows.dtype == torch.bfloat16 and len(rows) >= MANY_ROWS)):
        return F.linear(rows, weight, bias)
    return _as_rows(F.conv2d(_as_map(rows), weight[:, :, None, None], bias, dilation=_dilation()))


def linear_backward(gradient: Tensor, rows: Tensor, weight: Tensor, trained: bool = True) -> Gradients:
    """Return the gradients of `linear` by its rows and, if they are trained, weight and bias, in float32 or better."""
    if not trained:
        return linear(gradient, weight.mT), None, None
    outputs = len(weight)
    if not convolves(rows, rows.dtype == torch.float32):
        by_weight = gradient.mT @ rows
        return gradient @ weight, at_least_float(by_weight), at_least_float(gradient.sum(0))
    dilation = _dilation()
    by_rows, by_weight, by_bias = torch.ops.aten.convolution_backward(
        _as_map(gradient), _as_map(rows), weight[:, :, None, None], [outputs],
        [1, 1], [0, 0], [dilation, dilation], False, [0, 0], 1, [True, True, True],
    )  # fmt: skip
    return _as_rows(by_rows), by_weight[:, :, 0, 0], by_bias


def convolves(rows: Tensor, faster: bool) -> bool:
    """Return whether to compute a product of rows by a convolution, where that is `faster` on a CPU."""
    return (
        faster
        and rows.device.type == "cpu"
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and rows.numel() > LEAST_NUMBERS
    )


def at_least_float(tensor: Tensor) -> Tensor:
    """Return a tensor of less than 32 bits in float32, any other unchanged."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def _dilation() -> int:
    # With a single thread PyTorch passes 1x1 windows to oneDNN only if dilated, which says nothing about one pixel.
    return 2 if torch.get_num_threads() == 1 else 1


def _as_map(rows: Tensor) -> Tensor:
    return rows[None, None].permute(0, 3, 1, 2)


def _as_rows(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1)[0, 0]
