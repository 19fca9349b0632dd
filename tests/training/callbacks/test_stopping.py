"""When a run stops by itself, told by the scores of its validations alone."""

from collections.abc import Sequence

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from coatseg.errors import TrainingError
from coatseg.training.callbacks.stopping import Stopping


class Scored(lightning.LightningModule):
    """Logs a given score at each validation."""

    def __init__(self, scores: Sequence[float], name: str = "val/score") -> None:
        super().__init__()
        self.layer, self.scores, self.name = nn.Linear(1, 1), list(scores), name

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.layer(batch[0]).mean()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log(self.name, torch.tensor(self.scores[self.trainer.global_step - 1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def steps_taken(stopping: Stopping, module: Scored) -> int:
    """Train with a validation after every step."""
    data = DataLoader(TensorDataset(torch.zeros(len(module.scores), 1)), batch_size=1)
    trainer = lightning.Trainer(
        max_epochs=1, val_check_interval=1, limit_val_batches=1, callbacks=[stopping], accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, data, data)
    return trainer.global_step


@pytest.mark.parametrize(
    ("scores", "patience", "min_delta", "steps"),
    [
        ([0.1, 0.2, 0.2, 0.1, 0.3, 0.4], 2, 0.0, 4),
        ([0.1, 0.2, 0.1, 0.3, 0.1, 0.2], 3, 0.0, 6),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 1, 0.0, 6),
        ([0.1, 0.3, 0.35, 0.39, 0.41, 0.6], 2, 0.1, 4),
    ],
)
def test_it_stops_after_as_many_validations_without_a_better_score(
    scores: list[float], patience: int, min_delta: float, steps: int
) -> None:
    assert steps_taken(Stopping("val/score", patience=patience, min_delta=min_delta), Scored(scores)) == steps


def test_it_says_why_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    steps_taken(Stopping("val/score", patience=2, min_delta=0.01), Scored([0.5, 0.1, 0.505, 0.1]))
    assert capsys.readouterr().out.splitlines() == [
        "stopped at step 3: 2 validations in a row have not raised val/score by more than 0.01 above 0.5000"
    ]
    steps_taken(Stopping("val/score", patience=2), Scored([0.1, 0.2, 0.3]))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Scored([0.1, float("nan")]), "goes by val/score, which is nan at step 2"),
        (Scored([0.1], name="val/other"), "goes by val/score, which was not logged"),
    ],
)
def test_a_score_that_is_no_number_ends_the_run_with_an_error(module: Scored, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        steps_taken(Stopping("val/score"), module)


def test_the_count_goes_on_over_a_resume_with_the_patience_of_now() -> None:
    stopped = Stopping("val/score", patience=2)
    steps_taken(stopped, Scored([0.5, 0.1, 0.1, 0.1]))
    for patience, steps in ((2, 0), (3, 1), (4, 2)):
        resumed = Stopping("val/score", patience=patience)
        resumed.load_state_dict(stopped.state_dict())
        assert steps_taken(resumed, Scored([0.4, 0.4, 0.4, 0.4])) == steps
