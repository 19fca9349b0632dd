"""ReLU and dropout as one operation, which keeps nothing for the backward pass but its own result.

What is above zero in the result was above zero before, and was not dropped: neither ReLU's result nor a mask of its own
has to be kept, which are the largest tensors of a transformer's layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 2**16
"""The rate is rounded to such a part, as a number gets sixteen random bits; the scale is that of the rounded rate."""


class DroppedReLU(nn.Module):
    """ReLU whose results are dropped at a rate, from 0 to below 1, in training; random numbers are torch's global ones.

    In graphs that are compiled, and on devices other than CPUs, it is made of torch's own operations.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        """Return values above zero, and in training some of them only, scaled to the same mean."""
        dropped = round(self.rate * STEPS)
        if not (self.training and dropped):
            return functional.relu(values)
        if values.device.type != "cpu" or torch.compiler.is_compiling():
            return functional.dropout(functional.relu(values), self.rate)
        result: Tensor = _DroppedReLU.apply(values, min(dropped, STEPS - 1))
        return result


class _DroppedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, dropped: int) -> Tensor:
        numbers = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = numbers.view(torch.int16)[: values.numel()] >= dropped - STEPS // 2
        ctx.scale = STEPS / (STEPS - dropped)
        result = torch.where(kept.view(values.shape), values, 0).clamp_(min=0).mul_(ctx.scale)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (result,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradients[0], result, 0).mul_(ctx.scale), None
