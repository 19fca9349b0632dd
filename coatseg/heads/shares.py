"""What a loss is divided by, counted over all processes, so that their number does not change the gradient."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def share(count: Tensor) -> Tensor:
    """Give the factor that turns a mean over `count` things of this process into its part of the mean over everyone's.

    A distributed run averages the gradients of its processes, however few things one of them has. Every process has to
    call this at the same places. Outside of such a run the factor is 1. The parts of an accumulated step stay apart.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return torch.ones((), device=count.device)
    everyone = count.float().clone()
    distributed.all_reduce(everyone)
    return count.clamp(min=1) * distributed.get_world_size() / everyone.clamp(min=1)
