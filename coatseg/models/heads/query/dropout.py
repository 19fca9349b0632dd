"""Dropout at less time and memory on a CPU, put into the layers of a library: outputs, ReLUs, attention.

torch draws a float for every value there and keeps it as the mask; here four values share a random number of 64 bits,
and the mask is kept as bytes, or not at all. The numbers are those of a fast generator that starts from a number of
torch's default one, whose state thus decides them. On other devices, and in graphs that are compiled, all is torch's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 2**16
"""The probability is a multiple of one over this."""
ATTENTION = "coatseg_dropped"
"""The name under which transformers finds `attend`: its `attn_implementation`."""


def drop_outputs(module: nn.Module, probability: float) -> None:
    """Have a module drop values of its output in training."""
    if probability:
        module.register_forward_hook(partial(_dropped, probability))


def _dropped(probability: float, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return dropout(output, probability) if module.training else output


def dropout(values: Tensor, probability: float) -> Tensor:
    """Return the values, each zero with a probability, else divided by the probability to be kept."""
    if _torchs_own(values):
        return functional.dropout(values, probability)
    dropped: Tensor = _Dropout.apply(values, probability)
    return dropped


class DroppedReLU(nn.Module):
    """ReLU whose results are dropped in training, with a probability from 0 to below 1.

    Nothing but the result is kept for the backward pass: what is above zero there was so before, and was not dropped.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, values: Tensor) -> Tensor:
        """Return the values above zero, and in training some of them only, scaled to the same mean."""
        if not (self.training and self.probability):
            return functional.relu(values)
        if _torchs_own(values):
            return functional.dropout(functional.relu(values), self.probability)
        result: Tensor = _DroppedReLU.apply(values, self.probability)
        return result


def register_attention() -> None:
    """Let transformers know `attend`."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, attend)


def attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Return what queries (B, heads, Q, D) see of values, (B, Q, heads, D); the weights of attention are dropped.

    transformers' function for torch's attention does what is left; torch leaves its fast kernel where it has to drop.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    probability = options.get("dropout", 0.0)
    if not probability or mask is not None or _torchs_own(query):
        seen: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, mask, **options)
        return seen
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    weights = (scale * query @ key.transpose(-1, -2)).softmax(-1)
    return (dropout(weights, probability) @ value).transpose(1, 2), None


def _torchs_own(values: Tensor) -> bool:
    return values.device.type != "cpu" or torch.compiler.is_compiling()


def _kept(values: Tensor, probability: float) -> Tensor:
    """Draw which values are kept: 1 or 0 as int16, of their shape."""
    count = values.numel()
    numbers = np.random.SFC64(int(torch.randint(2**63 - 1, ()))).random_raw(-(-count // 4))
    drawn = torch.from_numpy(numbers.view(np.int16)[:count]).view(values.shape)
    return torch.ge(drawn, round(probability * STEPS) - STEPS // 2, out=drawn)


def _scaled(values: Tensor, kept: Tensor, probability: float) -> Tensor:
    """Return the values that are kept, divided by the probability to be so; a product is faster than a choice."""
    return torch.empty_like(values).copy_(kept).mul_(values).mul_(1 / (1 - probability))


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, probability: float) -> Tensor:
        kept = _kept(values, probability)
        ctx.save_for_backward(kept.to(torch.int8))
        ctx.probability = probability
        return _scaled(values, kept, probability)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return _scaled(gradients[0], kept, ctx.probability), None


class _DroppedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, probability: float) -> Tensor:
        ctx.scale = 1 / (1 - probability)
        result = _scaled(values.clamp(min=0), _kept(values, probability), probability)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (result,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradients[0], result, 0).mul_(ctx.scale), None
