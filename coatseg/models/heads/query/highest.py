"""The highest scores of many, as many as there are: small images have fewer tokens than queries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def highest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` highest scores of the last axis, or all where there are fewer, and their places."""
    have = scores.shape[-1]
    jit: Any = torch.jit
    if jit.is_tracing():  # a comparison in Python would hold for the size of the trace alone
        least: Any = torch.minimum(torch.as_tensor(have), torch.tensor(count))
        found = scores.topk(least)
    else:
        found = scores.topk(min(count, have))
    return found.values, found.indices
