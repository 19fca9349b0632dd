from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coatseg.data.loading.batching import collate, collate_step
from coatseg.errors import TrainingError
from coatseg.losses.base import WeightedSum
from coatseg.losses.cross_entropy import CrossEntropy
from coatseg.losses.dice import Dice
from coatseg.models.backbones.coat import CoaT
from coatseg.models.backbones.variants import Variant
from coatseg.models.model import Model
from coatseg.registry.names import table
from coatseg.structures import Batch, DatasetInfo, Outputs, Sample, Size
from coatseg.tasks.base import Task
from coatseg.tasks.dense import at_size
from coatseg.tasks.inference.options import WHOLE, Inference
from coatseg.tasks.semantic import SemanticTask
from coatseg.training.optimization.optimizers import adamw

INFO = DatasetInfo("three", ("a", "b", "c"), ((0, 0, 0),) * 3, frozenset({"semantic"}))


class Convolution(nn.Module):
    """A model of one convolution, whose auxiliary logits are twice its logits."""

    def __init__(self, kernel: int, auxiliary: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, kernel, padding=kernel // 2)
        self.auxiliary = auxiliary

    def forward(self, images: Tensor, sizes: tuple[Size, ...] | None = None) -> Outputs:
        logits = self.layer(images)
        return Outputs(logits, 2 * logits if self.auxiliary else None)


def samples(sizes: list[tuple[int, int]]) -> list[Sample]:
    random = np.random.default_rng(0)
    made = []
    for number, size in enumerate(sizes):
        labels = random.integers(0, 3, size).astype(np.uint8)
        labels[: number + 1] = 255  # every image has another number of valid pixels
        made.append(Sample(f"{number}", random.integers(0, 256, (*size, 3)).astype(np.uint8), size, labels))
    return made


def task(model: nn.Module, parts: int = 1, world_size: int = 1, auxiliary_weight: float = 0.0) -> SemanticTask:
    torch.manual_seed(0)
    loss = WeightedSum({"cross_entropy": CrossEntropy(INFO), "dice": Dice(INFO)}, {"cross_entropy": 1.0, "dice": 0.5})
    made = SemanticTask(
        model,
        INFO,
        loss,
        optimizer=lambda model: adamw(model, lr=1e-3),
        schedule=lambda step: 1.0,
        auxiliary_weight=auxiliary_weight,
    )
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    made._trainer = SimpleNamespace(strategy=strategy, world_size=world_size, accumulate_grad_batches=parts)  # type: ignore[assignment]
    return made


def gradient(parts: int) -> Tensor:
    """The gradient after one step of four images in `parts` accumulated batches, as Lightning averages it."""
    torch.manual_seed(0)
    model = Convolution(3)
    trained = task(model, parts)
    for batch in collate_step(samples([(8, 8)] * 4), INFO, parts):
        (sum(trained.losses(batch).values()) / parts).backward()  # type: ignore[union-attr]
    assert model.layer.weight.grad is not None
    return model.layer.weight.grad


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_does_not_change_the_gradient(parts: int) -> None:
    torch.testing.assert_close(gradient(parts), gradient(1), rtol=1e-5, atol=1e-7)


def test_the_loss_of_a_whole_batch_is_the_plain_mean() -> None:
    batch = collate_step(samples([(8, 8)] * 2), INFO)[0]
    model = Convolution(1)
    labels = torch.stack([target.label_map for target in batch.targets if target.label_map is not None])
    expected = nn.functional.cross_entropy(model.layer(batch.images), labels, ignore_index=255)
    torch.testing.assert_close(task(model).losses(batch)["cross_entropy"], expected)


def test_auxiliary_logits_add_their_losses_with_a_factor() -> None:
    batch = collate_step(samples([(8, 8)] * 2), INFO)[0]
    model = Convolution(1, auxiliary=True)
    losses = task(model, auxiliary_weight=0.25).losses(batch)
    model.layer.weight.data *= 2
    assert model.layer.bias is not None
    model.layer.bias.data *= 2
    model.auxiliary = False
    of_auxiliary = task(model).losses(batch)
    assert float(losses["auxiliary"]) == pytest.approx(0.25 * float(sum(of_auxiliary.values())), rel=1e-5)


def coat(head: str) -> Model:
    torch.manual_seed(0)
    backbone = CoaT(Variant((16, 24, 32, 40), (2, 2, 2, 2), (1, 1, 1, 1)))
    return Model(backbone, table("head")[head](backbone.levels, 3, width=32))


INFERENCES = [WHOLE, Inference(window=(8, 8)), Inference(flip=True), Inference(scales=(1.0, 1.5))]


@pytest.mark.parametrize("inference", INFERENCES, ids=lambda inference: inference.words)
@pytest.mark.parametrize("head", ["fpn", "segformer", "upernet"])
def test_an_image_is_predicted_the_same_alone_and_among_others(head: str, inference: Inference) -> None:
    trained = task(coat(head)).eval()
    trained.inference = inference
    several = samples([(40, 33), (12, 70), (40, 33), (64, 64)])
    with torch.no_grad():
        together = trained.predict(collate(several, INFO, [False] * 4))
        for sample, prediction in zip(several, together, strict=True):
            alone = trained.predict(collate([sample], INFO, [False]))[0]
            assert prediction.id == sample.id
            assert prediction.label_map.shape == sample.original_size
            assert (prediction.label_map == alone.label_map).float().mean() > 0.999  # ties may fall either way
            torch.testing.assert_close(prediction.scores, alone.scores, rtol=1e-4, atol=1e-5)


def seen(model: Convolution, sizes: list[tuple[int, int]], inference: Inference = WHOLE) -> list[tuple[object, ...]]:
    """What the model is given in a prediction and in a training step: how many images, and their sizes."""
    calls: list[tuple[object, ...]] = []
    model.register_forward_pre_hook(lambda model, given: calls.append((len(given[0]), *given[1:])))
    trained = task(model)
    trained.inference = inference
    batch = collate(samples(sizes), INFO, [False] * len(sizes))
    trained.predict(batch)
    trained.losses(batch)
    return calls


def test_the_model_is_told_the_sizes_where_they_differ() -> None:
    sizes = [(12, 9), (7, 16)]
    assert seen(Convolution(3), sizes) == [(2, tuple(sizes)), (2, tuple(sizes))]
    assert seen(Convolution(3), sizes, Inference(flip=True)) == [(1,)] * 4 + [(2, tuple(sizes))]


def test_the_model_is_told_no_sizes_where_they_are_alike() -> None:
    assert seen(Convolution(3), [(12, 9), (12, 9)]) == [(2,), (2, None)]


def test_repeated_images_are_not_counted() -> None:
    trained = task(Convolution(1)).eval()
    several = samples([(6, 6), (6, 6)])
    batch = collate(several, INFO, [False, True])
    trained.score(trained.predict(batch), batch)
    valid = int((several[0].label_map != 255).sum())  # type: ignore[union-attr]
    assert int(trained.confusion.counts.sum()) == valid


def test_logits_are_resized_before_the_class_is_chosen() -> None:
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 3.0]]])
    prediction = task(Convolution(1)).decode(at_size(logits, (1, 4)), "x")
    assert prediction.label_map.tolist() == [[0, 0, 1, 1]]
    assert prediction.scores[0, 0] == pytest.approx(float(torch.tensor([4.0, 0.0]).softmax(0)[0]))


class Diverged(SemanticTask):
    """A task whose loss is as stated."""

    loss_of_all: float

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return {"cross_entropy": torch.tensor(self.loss_of_all)}


@pytest.mark.parametrize(
    ("loss", "lost", "says"),
    [
        (float("nan"), 1.0, r"The loss is nan at step 0 \(images a, b, c, d, e, f\)"),
        (2.0, 1.0, "Another process's loss is no number at step 0"),
    ],
    ids=["its own", "another process's"],
)
def test_a_loss_that_is_not_finite_stops_every_process(loss: float, lost: float, says: str) -> None:
    task = Diverged.__new__(Diverged)  # which needs no losses of its own
    Task.__init__(task, nn.Identity(), INFO, optimizer=adamw, schedule=lambda step: 1.0)
    task.loss_of_all = loss
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: torch.tensor(lost))
    task._trainer = SimpleNamespace(strategy=strategy, global_step=0)  # type: ignore[assignment]
    batch = SimpleNamespace(ids=tuple("abcdef"))
    with pytest.raises(TrainingError, match=says):
        task.training_step(batch, 0)  # type: ignore[arg-type]
