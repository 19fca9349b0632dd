"""Dropout at half the time on a CPU, put behind the modules of a library's layers.

torch draws a float for every value there and keeps it as the mask; here four values share a random number of 64 bits,
and the mask is kept as bytes. The numbers come from torch's default generator, as torch's own do.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 2**16
"""The probability is a multiple of one over this."""


def drop_outputs(module: nn.Module, probability: float) -> None:
    """Have a module drop values of its output in training."""
    if probability:
        module.register_forward_hook(partial(_dropped, probability))


def _dropped(probability: float, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return dropout(output, probability) if module.training else output


def dropout(values: Tensor, probability: float) -> Tensor:
    """Return the values, each zero with a probability, else divided by the probability to be kept."""
    if values.device.type != "cpu" or torch.compiler.is_compiling():
        return functional.dropout(values, probability)
    dropped: Tensor = _Dropout.apply(values, probability)
    return dropped


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, probability: float) -> Tensor:
        count = values.numel()
        numbers = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None)
        least = round(probability * STEPS) - STEPS // 2
        kept = (numbers.view(torch.int16)[:count] >= least).view(values.shape)
        ctx.save_for_backward(kept)
        ctx.scale = 1 / (1 - probability)
        return torch.where(kept, values, 0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return torch.where(kept, gradients[0], 0).mul_(ctx.scale), None
