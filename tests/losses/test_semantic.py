import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from coatseg.errors import ConfigError
from coatseg.losses.semantic import CrossEntropy, Dice, SemanticLoss, WeightedSum
from coatseg.structures import DatasetInfo

INFO = DatasetInfo("two", ("a", "b"), ((0, 0, 0), (255, 255, 255)), frozenset({"semantic"}))

# One row of four pixels; softmax of (0, ln 3) is (1/4, 3/4).
LOGITS = torch.tensor([[0.0, 0.0, 0.0, 0.0], [math.log(3), math.log(3), math.log(3), math.log(3)]]).reshape(1, 2, 1, 4)
LABELS = torch.tensor([[[1, 1, 0, 255]]])


def mean(loss: SemanticLoss, logits: Tensor = LOGITS, labels: Tensor = LABELS) -> float:
    return float(loss(logits, labels) / loss.weight(labels))


def test_cross_entropy_averages_over_the_pixels_that_are_not_ignored() -> None:
    assert mean(CrossEntropy(INFO)) == pytest.approx(-(2 * math.log(3 / 4) + math.log(1 / 4)) / 3)


def test_class_weights_weigh_pixels_and_normaliser() -> None:
    loss = CrossEntropy(INFO, class_weights=[2.0, 1.0])
    assert mean(loss) == pytest.approx(-(2 * math.log(3 / 4) + 2 * math.log(1 / 4)) / 4)


def test_smoothing_mixes_in_the_uniform_distribution() -> None:
    smoothing = 0.2
    right, wrong = -math.log(3 / 4), -math.log(1 / 4)
    uniform = (right + wrong) / 2
    expected = (1 - smoothing) * (2 * right + wrong) / 3 + smoothing * uniform
    assert mean(CrossEntropy(INFO, smoothing=smoothing)) == pytest.approx(expected)


@pytest.mark.parametrize(("weights", "smoothing"), [(None, 0.0), ([0.3, 2.0], 0.0), (None, 0.1), ([0.3, 2.0], 0.1)])
def test_cross_entropy_over_its_weight_is_torchs_mean(weights: Sequence[float] | None, smoothing: float) -> None:
    logits, labels = torch.randn(2, 2, 5, 7), torch.randint(0, 2, (2, 5, 7))
    labels[0, :2] = 255
    expected = torch.nn.functional.cross_entropy(
        logits,
        labels,
        None if weights is None else torch.tensor(weights),
        ignore_index=255,
        label_smoothing=smoothing,
    )
    assert mean(CrossEntropy(INFO, class_weights=weights, smoothing=smoothing), logits, labels) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_dice_by_hand() -> None:
    # Class a: overlap 1/4, probabilities 3/4, truth 1. Class b: overlap 3/2, probabilities 9/4, truth 2.
    smooth = 1.0
    a = 1 - (2 * 0.25 + smooth) / (0.75 + 1 + smooth)
    b = 1 - (2 * 1.5 + smooth) / (2.25 + 2 + smooth)
    assert mean(Dice(INFO, smooth=smooth)) == pytest.approx((a + b) / 2)


def test_dice_leaves_out_classes_that_the_image_does_not_show() -> None:
    labels = torch.tensor([[[1, 1, 1, 255]]])
    assert mean(Dice(INFO, smooth=0.0), labels=labels) == pytest.approx(1 - 2 * 2.25 / (2.25 + 3))


def test_a_batch_without_a_valid_pixel_costs_nothing() -> None:
    labels = torch.full((1, 1, 4), 255)
    total = WeightedSum({"cross_entropy": CrossEntropy(INFO), "dice": Dice(INFO)}, {"cross_entropy": 1.0, "dice": 1.0})
    losses = total(LOGITS, labels, total.weights(labels))
    assert {name: float(loss) for name, loss in losses.items()} == {"cross_entropy": 0.0, "dice": 0.0}


@pytest.mark.parametrize("loss", [CrossEntropy(INFO), CrossEntropy(INFO, class_weights=[3.0, 0.5]), Dice(INFO)])
def test_sums_and_weights_add_up_over_any_split_of_a_batch(loss: SemanticLoss) -> None:
    logits, labels = torch.randn(4, 2, 6, 6), torch.randint(0, 2, (4, 6, 6))
    labels[0] = 255
    labels[1, :4] = 255
    parts = [(logits[:1], labels[:1]), (logits[1:], labels[1:])]
    total = sum(float(loss(*part)) for part in parts) / sum(float(loss.weight(part[1])) for part in parts)
    assert mean(loss, logits, labels) == pytest.approx(total, rel=1e-5)


def test_the_sum_carries_factors() -> None:
    total = WeightedSum({"dice": Dice(INFO)}, {"dice": 3.0})
    value = total(LOGITS, LABELS, total.weights(LABELS))["dice"]
    assert float(value) == pytest.approx(3 * mean(Dice(INFO)))


def test_wrong_options_are_named() -> None:
    with pytest.raises(ConfigError, match="3 entries for 2 classes"):
        CrossEntropy(INFO, class_weights=[1, 2, 3])
    with pytest.raises(ConfigError, match="smoothing"):
        CrossEntropy(INFO, smoothing=1.5)
