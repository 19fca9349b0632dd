"""The average against its formula, as a run makes, validates and hands it over."""

import lightning
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from coatseg.training.callbacks.averaging import Averaging


class Regression(lightning.LightningModule):
    """Keeps what it was trained and validated with, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        self.register_buffer("index", torch.arange(1000), persistent=False)
        self.validated: list[dict[str, Tensor]] = []

    def values(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.layers.state_dict().items()}

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return (self.layers(batch[0]) - 1).square().mean()

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.validated.append(self.values())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run(averaging: Averaging, steps: int, parts: int = 1) -> tuple[Regression, list[dict[str, Tensor]]]:
    """Train, validate once at the end, and give the module and its weights after each step."""
    module = Regression()
    data = DataLoader(TensorDataset(torch.randn(4 * steps * parts, 3)), batch_size=4)
    after: list[dict[str, Tensor]] = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):  # type: ignore[no-untyped-def]
            if (batch_idx + 1) % parts == 0:
                after.append(pl_module.values())

    trainer = lightning.Trainer(
        max_epochs=1, accumulate_grad_batches=parts, callbacks=[averaging, Watch()], accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        limit_val_batches=1,
    )  # fmt: skip
    trainer.fit(module, data, data)
    assert trainer.global_step == steps == len(after)
    return module, after


def averaged(after: list[dict[str, Tensor]], decays: list[float]) -> dict[str, Tensor]:
    """w_1, then d * average + (1 - d) * w_t, in float64."""
    average = {name: value.double() for name, value in after[0].items()}
    for weights, decay in zip(after[1:], decays, strict=True):
        average = {name: decay * value + (1 - decay) * weights[name] for name, value in average.items()}
    return average


@pytest.mark.parametrize("parts", [1, 2], ids=["", "accumulated"])
def test_the_average_by_its_formula(parts: int) -> None:
    module, after = run(Averaging(decay=0.7, warmup=False), steps=5, parts=parts)
    expected = averaged(after, [0.7] * 4)
    for name in ("0.weight", "1.weight", "1.running_mean", "1.running_var", "2.bias"):
        assert not torch.allclose(after[-1][name].double(), expected[name], rtol=1e-4)
        torch.testing.assert_close(module.validated[0][name].double(), expected[name], rtol=1e-5, atol=1e-6)


def test_while_it_warms_up_the_average_follows_faster() -> None:
    averaging = Averaging(decay=0.25)
    assert [averaging.decay_at(step) for step in (1, 2, 3)] == pytest.approx([2 / 11, 3 / 12, 0.25])
    module, after = run(averaging, steps=5)
    expected = averaged(after, [2 / 11, 0.25, 0.25, 0.25])
    torch.testing.assert_close(module.validated[0]["0.weight"].double(), expected["0.weight"], rtol=1e-5, atol=1e-6)


def test_counts_are_taken_over_and_not_averaged() -> None:
    module, _ = run(Averaging(decay=0.9999, warmup=False), steps=4)
    assert module.validated[0]["1.num_batches_tracked"] == 4
    assert torch.equal(module.index, torch.arange(1000))


def test_the_average_is_handed_over_when_the_run_ends() -> None:
    module, after = run(Averaging(decay=0.7, warmup=False), steps=3)
    torch.testing.assert_close(module.values(), module.validated[0], rtol=0, atol=0)
    assert not torch.equal(module.values()["0.weight"], after[-1]["0.weight"])
    nn.init.zeros_(module.layers[0].weight)  # type: ignore[arg-type]
    module.trainer.validate(module, DataLoader(TensorDataset(torch.randn(4, 3))), verbose=False)
    assert not module.validated[-1]["0.weight"].any()


def test_a_compiled_model_is_averaged_too() -> None:
    averaging, module = Averaging(), Regression()
    module.layers.compile()
    averaging.setup(lightning.Trainer(barebones=True, accelerator="cpu"), module, "fit")
    averaging._average_model.update_parameters(module)  # type: ignore[union-attr]
    assert set(averaging._average_model.module.state_dict()) == set(module.state_dict())  # type: ignore[union-attr]
