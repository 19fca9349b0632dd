from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coatseg.data.loading.batching import collate, collate_step
from coatseg.losses.base import WeightedSum
from coatseg.losses.cross_entropy import CrossEntropy
from coatseg.registry.names import table
from coatseg.structures import DatasetInfo, Outputs, Sample, Size
from coatseg.tasks.dense import at_size
from coatseg.tasks.multilabel import MultilabelTask
from coatseg.training.optimization.optimizers import adamw


def info_of(classes: int) -> DatasetInfo:
    return DatasetInfo("layers", tuple("abc"[:classes]), ((9, 9, 9),) * classes, frozenset({"multilabel"}))


class Convolution(nn.Module):
    """A model of one convolution."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, classes, 3, padding=1)

    def forward(self, images: Tensor, sizes: tuple[Size, ...] | None = None) -> Outputs:
        return Outputs(self.layer(images))


def samples(sizes: list[tuple[int, int]], classes: int) -> list[Sample]:
    random = np.random.default_rng(0)
    made = []
    for number, size in enumerate(sizes):
        layers = random.integers(0, 2, (*size, classes)).astype(np.uint8)
        layers[: number + 1] = 255  # every image has another number of known pixels
        image = random.integers(0, 256, (*size, 3)).astype(np.uint8)
        made.append(Sample(f"{number}", image, size, layers=layers))
    return made


def task(model: nn.Module, classes: int, parts: int = 1, threshold: float = 0.5) -> MultilabelTask:
    info = info_of(classes)
    names = sorted(table("loss"))
    made = MultilabelTask(
        model,
        info,
        WeightedSum({name: table("loss")[name](info) for name in names}, dict.fromkeys(names, 0.7)),
        optimizer=lambda model: adamw(model, lr=1e-3),
        schedule=lambda step: 1.0,
        threshold=threshold,
    )
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    made._trainer = SimpleNamespace(strategy=strategy, world_size=1, accumulate_grad_batches=parts)  # type: ignore[assignment]
    return made


def gradient(parts: int, classes: int) -> Tensor:
    """The gradient of all losses after one step of four images in `parts` accumulated batches."""
    torch.manual_seed(0)
    model = Convolution(classes)
    trained = task(model, classes, parts)
    for batch in collate_step(samples([(8, 8), (8, 6), (7, 8), (8, 8)], classes), trained.info, parts):
        (sum(trained.losses(batch).values()) / parts).backward()  # type: ignore[union-attr]
    assert model.layer.weight.grad is not None
    return model.layer.weight.grad


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_does_not_change_the_gradient(parts: int, classes: int) -> None:
    torch.testing.assert_close(gradient(parts, classes), gradient(1, classes), rtol=1e-5, atol=1e-7)


def test_the_loss_of_a_whole_batch_is_the_plain_mean() -> None:
    model = Convolution(3)
    trained = task(model, 3)
    trained.loss = WeightedSum({"cross_entropy": CrossEntropy(trained.info)}, {"cross_entropy": 1.0})
    batch = collate_step(samples([(8, 8)] * 2, 3), trained.info)[0]
    layers = torch.stack([target.layers for target in batch.targets if target.layers is not None])
    expected = nn.functional.binary_cross_entropy_with_logits(
        model.layer(batch.images)[layers != 255], layers[layers != 255].float()
    )
    torch.testing.assert_close(trained.losses(batch)["cross_entropy"], expected)


def test_a_pixel_has_the_classes_above_the_threshold() -> None:
    logits = torch.tensor([[[-9.0, 0.0, 1.0]], [[2.0, 2.0, -2.0]]])
    prediction = task(Convolution(2), 2).decode(logits, "x")
    assert prediction.layers.int().tolist() == [[[0, 0, 1]], [[1, 1, 0]]]
    torch.testing.assert_close(prediction.scores, logits.sigmoid())
    sure = task(Convolution(2), 2, threshold=0.8).decode(logits, "x")
    assert sure.layers.int().tolist() == [[[0, 0, 0]], [[1, 1, 0]]]


def test_logits_are_resized_before_the_classes_are_chosen() -> None:
    prediction = task(Convolution(1), 1).decode(at_size(torch.tensor([[[4.0, -2.0]]]), (1, 4)), "x")
    assert prediction.layers.int().tolist() == [[[1, 1, 0, 0]]]


def test_one_class_is_counted_over_the_known_pixels_of_images_that_are_not_repeated() -> None:
    trained = task(Convolution(1), 1).eval()
    several = samples([(12, 9), (7, 16), (12, 9)], 1)
    batch = collate(several, trained.info, [False, False, True])
    predictions = trained.predict(batch)
    assert [tuple(prediction.layers.shape) for prediction in predictions] == [(1, 12, 9), (1, 7, 16), (1, 12, 9)]
    trained.score(predictions, batch)
    expected = np.zeros(3, int)
    for prediction, sample in zip(predictions[:2], several[:2], strict=True):
        assert sample.layers is not None
        truth, found = sample.layers[..., 0], prediction.layers[0].numpy()
        known = truth != 255
        expected += [(found & (truth == 1)).sum(), (truth == 1).sum(), (found & known).sum()]
    assert trained.counts.counts.tolist() == [expected.tolist()]
    assert trained.scores().summary()["mIoU"] == pytest.approx(expected[0] / (expected[1] + expected[2] - expected[0]))
    trained.reset_scores()
    assert not trained.counts.counts.any()
