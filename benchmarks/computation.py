"""How much a network computes, and how fast the machine computes at best.

Multiply-accumulates (MACs) are counted on torch's meta device, for plain networks such as timm's: for kernels that fuse
operations, or compute something again to save memory, the counts would be wrong.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.timing import in_turn
from coatseg.models.backbones.coat import STRIDES
from coatseg.models.backbones.variants import Variant
from coatseg.models.macs import giga_macs
from coatseg.structures import Size

TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


def giga_multiplications(model: nn.Module, batch: int, size: Size) -> dict[str, float]:
    """Count the MACs of convolutions and matrix products, in units of 1e9, of a forward pass and of a training step.

    A step has three times the MACs of a forward pass: its own, and as many each for the gradients of a layer's inputs
    and of its weights. (FlopCounterMode counts the gradient of a depthwise convolution as if it were a full one.)
    """
    on_meta = copy.deepcopy(model).to("meta").eval()
    images = torch.zeros(batch, 3, *size, device="meta")
    forward = giga_macs(lambda: on_meta(images))
    return {"forward": forward, "training step": 3 * forward}


def best_rates(variant: Variant, batch: int, size: Size, precision: str, repeats: int) -> dict[str, float]:
    """Measure the rates of 1x1 convolutions on channels-last maps, in 1e9 MACs a second, by their shapes.

    They are the widening convolutions of the variant's MLPs at every scale, its largest matrix products.
    """
    rates = {}
    for stride, channels, ratio in zip(STRIDES, variant.channels, variant.mlp_ratios, strict=True):
        height, width = (side // stride for side in size)
        work = widening(batch, channels, ratio * channels, (height, width), TYPES[precision])
        seconds = min(in_turn({"convolution": work}, repeats)["convolution"])
        multiplications = batch * height * width * channels * ratio * channels / 1e9
        rates[f"{channels} to {ratio * channels} at {height}x{width}"] = multiplications / seconds
    return rates


def widening(batch: int, channels: int, wide: int, size: Size, dtype: torch.dtype) -> Callable[[], object]:
    """Return a function that runs a 1x1 convolution on a channels-last map."""
    convolution = nn.Conv2d(channels, wide, 1).to(dtype=dtype, memory_format=torch.channels_last)
    image = torch.randn(batch, channels, *size).to(dtype=dtype, memory_format=torch.channels_last)

    def work() -> object:
        with torch.inference_mode():
            return convolution(image)

    return work
