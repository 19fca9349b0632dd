"""Early stopping: end a run whose validations no longer improve."""

from __future__ import annotations

import math
from typing import Any

import lightning
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console

from coatseg.errors import TrainingError
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeFloat, PositiveInt


@register("callback", "early_stopping")
class Stopping(EarlyStopping):
    """Stops the run after `patience` validations in a row that have not raised `monitor` by more than `min_delta`.

    `monitor` is a logged name; higher is better. Counting continues when a run is resumed.
    """

    def __init__(self, monitor: str, *, patience: PositiveInt = 5, min_delta: NonNegativeFloat = 0.0) -> None:
        super().__init__(monitor, min_delta=min_delta, patience=patience, mode="max", check_on_train_epoch_end=False)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the count, but with the present patience: a higher one lets a stopped run go on."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Stop a resumed run at once if it had stopped before."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Count a validation that did not improve, and stop the run after too many.

        Raises:
            TrainingError: there is no finite score to judge by.
        """
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            score = trainer.callback_metrics.get(self.monitor)
            if score is None or not math.isfinite(score):
                found = "was not logged" if score is None else f"is {float(score)} at step {trainer.global_step}"
                raise TrainingError(
                    f"Early stopping goes by {self.monitor}, which {found}.",
                    "See that the val split has labels, or leave callbacks.early_stopping out.",
                )
        super().on_validation_end(trainer, pl_module)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print why the run has ended, if it was stopped."""
        if self.wait_count >= self.patience and trainer.is_global_zero:
            Console(highlight=False, markup=False, soft_wrap=True).print(
                f"stopped at step {trainer.global_step}: {self.wait_count} validations in a row have not raised "
                f"{self.monitor} by more than {self.min_delta:g} above {float(self.best_score):.4f}"
            )
