"""What every task shares: a model, losses normalised over the whole step, an optimizer with its schedule."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from coatseg.errors import TrainingError
from coatseg.structures import Batch, DatasetInfo, Scores
from coatseg.tasks.inference.options import WHOLE, Inference

CHECK_EVERY = 10
"""Optimizer steps between checks of the loss on an accelerator, which has to wait for each check."""


class Task(lightning.LightningModule):
    """Base class of the tasks: a loss and a decoding around a model.

    `optimizer` makes the optimizer of a model; `schedule` returns the factor of the learning rate at an optimizer step.
    `inference` is how to predict, in validation and after. `seed` makes the model's own randomness (dropout, drop path)
    a function of step and process, so that a resumed run repeats it.
    """

    monitor: str
    """The name of the validation metric that decides which checkpoint is best; higher is better."""

    needs: str
    """What a dataset must annotate, one of DatasetInfo.annotates."""

    takes: str
    """What a head must output for it: "logits", "boxes", "masks" with their boxes, or "segments"."""

    result: Scores
    """The scores of the last evaluation."""

    def __init__(
        self,
        model: nn.Module,
        info: DatasetInfo,
        *,
        optimizer: Callable[[nn.Module], Optimizer],
        schedule: Callable[[int], float],
        seed: int = 0,
        inference: Inference = WHOLE,
    ) -> None:
        super().__init__()
        self.model = model
        self.info = info
        self.seed = seed
        self.inference = inference
        self._make_optimizer = optimizer
        self._schedule = schedule

    @classmethod
    def class_numbers(cls, info: DatasetInfo) -> tuple[int, ...]:
        """Return the class numbers that a head tells apart, in the order in which it counts them from 0."""
        return tuple(range(len(info.classes)))

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses by name; averaged over processes and accumulated parts, their sum is the step's loss."""

    @abstractmethod
    def predict(self, batch: Batch) -> list[Any]:
        """Return one prediction for each image, at its original size."""

    @abstractmethod
    def scores(self) -> Scores:
        """Return the metrics of the images scored since the last call of `reset_scores`, over all processes."""

    @abstractmethod
    def reset_scores(self) -> None:
        """Forget the images scored so far."""

    @abstractmethod
    def score(self, predictions: list[Any], batch: Batch) -> None:
        """Add predictions to the metrics."""

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer, with a schedule that sets its learning rates every step."""
        optimizer = self._make_optimizer(self.model)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, self._schedule), "interval": "step"},
        }

    def on_train_start(self) -> None:
        """Set the learning rates by this run's schedule, as a resumed optimizer has those of an earlier one."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = group["initial_lr"] * self._schedule(self.global_step)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed the model's randomness from (seed, step, part, process)."""
        state = torch.tensor([self.seed, self.global_step, batch_idx, self.global_rank])
        torch.manual_seed(_mix(state.tolist()))

    @property
    def steps_taken(self) -> int:
        """The number of optimizer steps that the run has taken; 0 before it begins."""
        return 0 if self._trainer is None else self.global_step

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of the losses, and log them.

        Raises:
            TrainingError: the loss is not finite, or a batch norm sees a single value per channel.
        """
        try:
            losses = self.losses(batch)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise TrainingError(
                "A batch norm cannot train on one image that is pooled to one pixel.",
                "Set head.norm=group, or give every process and accumulated part two images of data.batch_size.",
            ) from error
        total = torch.stack(list(losses.values())).sum()
        looked_at = total.device.type == "cpu" or self.global_step % CHECK_EVERY == 0
        if looked_at:
            self._check_finite(total.detach(), batch)
        shown = {"loss": total.detach(), **{f"loss/{name}": value.detach() for name, value in losses.items()}}
        if len(losses) == 1:
            shown = {"loss": shown["loss"]}
        shown["lr"] = torch.tensor(self.trainer.optimizers[0].param_groups[0]["lr"])
        self.log_dict(shown, batch_size=len(batch), prog_bar=True)
        return total

    def _check_finite(self, loss: Tensor, batch: Batch) -> None:
        """Raise TrainingError in all processes if the loss of one is not finite, as the others would wait for it."""
        finite = bool(torch.isfinite(loss))
        if not float(self.step_total(torch.tensor(float(not finite)))):
            return
        what = f"{loss.item()} at step {self.global_step} (images {', '.join(batch.ids)})"
        raise TrainingError(
            f"The loss is {what}."
            if not finite
            else f"Another process's loss is no number at step {self.global_step}.",
            "Lower optimizer.lr, lengthen schedule.warmup, or train with trainer.precision=32-true.",
        )

    def on_validation_epoch_start(self) -> None:
        """Reset the metrics."""
        self.reset_scores()

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Any]]:
        """Predict and score a batch, and return the predictions for the callbacks."""
        predictions = self.predict(batch)
        self.score(predictions, batch)
        return {"predictions": predictions}

    def on_validation_epoch_end(self) -> None:
        """Keep the metrics as `result`, and log their means."""
        self.result = self.scores()
        summary = {f"val/{name}": torch.tensor(value) for name, value in self.result.summary().items()}
        self.log_dict(summary, rank_zero_only=False)

    def step_total(self, value: Tensor) -> Tensor:
        """Return the sum of a value of the step over all processes."""
        total: Tensor = self.trainer.strategy.reduce(value.to(self.device), reduce_op="sum")
        return total

    @property
    def shares(self) -> int:
        """The number of processes and accumulated parts that the trainer averages a step's gradient over."""
        return self.trainer.world_size * self.trainer.accumulate_grad_batches


def _mix(numbers: list[int]) -> int:
    """Return a seed, a hash of small integers (64 bit, the multiplier of Steele et al.'s SplitMix)."""
    state = 0
    for number in numbers:
        state = ((state ^ number) * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64
        state ^= state >> 29
    return state % 2**63
