"""Weights averaged over the steps of a run; validations and checkpoints use the average."""

from __future__ import annotations

import lightning
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from coatseg.registry.names import register
from coatseg.registry.options import Rate

RAW_STATE = "current_model_state"
"""The key under which Lightning keeps the trained weights in a checkpoint; "state_dict" holds their average."""


@register("callback", "ema")
class Averaging(WeightAveraging):
    """Keeps an exponential moving average (EMA) of all weights and running statistics (Polyak and Juditsky, 1992).

    It begins with the weights after the first optimizer step; every later step t (from 1) makes it
    d * average + (1 - d) * weights, where d is `decay`, or with `warmup`, (1 + t) / (10 + t) as long as that is less,
    as in TensorFlow's ExponentialMovingAverage: otherwise the average of a short run would stay close to its first
    weights. Integer buffers, such as counts and indices, are copied; averaging would round them down.

    The average is what is validated, and what a checkpoint holds as its weights; it keeps the raw weights too, for
    resuming. When a run ends, the module has the average.
    """

    def __init__(self, *, decay: Rate = 0.999, warmup: bool = True) -> None:
        self.decay = decay
        self.warmup = warmup
        super().__init__(multi_avg_fn=self._average)

    def decay_at(self, step: int) -> float:
        """Return the weight of the average so far in update `step`, which counts from 1."""
        return min(self.decay, (1 + step) / (10 + step)) if self.warmup else self.decay

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Move the average to the device of the weights, which are there only now."""
        if self._average_model is not None:
            self._average_model.to(pl_module.device)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep the raw weights in place, as a checkpoint may still be written."""

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Copy the average to the module, and drop it, so that a later evaluation swaps nothing."""
        self._copy_average_to_current(pl_module)
        self._average_model = None

    @torch.no_grad()
    def _average(self, averages: list[Tensor], weights: list[Tensor], updates: Tensor | int) -> None:
        """Move tensors of one type towards the weights."""
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - self.decay_at(int(updates)))
        else:
            torch._foreach_copy_(averages, weights)
