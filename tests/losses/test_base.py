import pytest

from coatseg.losses.base import WeightedSum
from coatseg.losses.cross_entropy import CrossEntropy
from coatseg.losses.dice import Dice
from tests.losses.example import INFO, LABELS, LOGITS, mean


def test_the_sum_carries_factors() -> None:
    losses = {"cross_entropy": CrossEntropy(INFO), "dice": Dice(INFO)}
    total = WeightedSum(losses, {"cross_entropy": 1.0, "dice": 3.0})
    values = total(LOGITS, LABELS, total.weights(LABELS))
    assert float(values["cross_entropy"]) == pytest.approx(mean(losses["cross_entropy"]))
    assert float(values["dice"]) == pytest.approx(3 * mean(losses["dice"]))


def test_a_batch_without_a_valid_pixel_costs_nothing() -> None:
    labels = LABELS.new_full((1, 1, 4), 255)
    total = WeightedSum({"cross_entropy": CrossEntropy(INFO), "dice": Dice(INFO)}, {"cross_entropy": 1.0, "dice": 1.0})
    losses = total(LOGITS, labels, total.weights(labels))
    assert {name: float(loss) for name, loss in losses.items()} == {"cross_entropy": 0.0, "dice": 0.0}
