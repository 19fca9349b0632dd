import math

import pytest
import torch
from torch import Tensor

from coatseg.losses.base import SemanticLoss
from coatseg.losses.ohem import OhemCrossEntropy
from coatseg.structures import DatasetInfo
from tests.contracts.loss import PixelLossContract
from tests.losses.example import INFO, ONE, RIGHT, WRONG, layer_mean, mean


class TestOhem(PixelLossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return OhemCrossEntropy(info, min_kept=0.3)


def logits_of(*probabilities: float) -> Tensor:
    """Logits of two classes that give b these probabilities, in one row."""
    odds = [math.log(probability / (1 - probability)) for probability in probabilities]
    return torch.tensor([[0.0] * len(odds), odds]).reshape(1, 2, 1, -1)


def test_pixels_below_the_threshold_are_kept() -> None:
    # The truth has the probabilities 3/4, 3/4 and 1/4.
    assert mean(OhemCrossEntropy(INFO)) == pytest.approx(WRONG)
    assert mean(OhemCrossEntropy(INFO, threshold=0.8)) == pytest.approx((2 * RIGHT + WRONG) / 3)
    assert layer_mean(OhemCrossEntropy(ONE)) == pytest.approx(WRONG)


@pytest.mark.parametrize(("min_kept", "kept"), [(1 / 16, 1), (0.4, 1), (0.5, 2), (0.75, 2), (1.0, 3)])
def test_a_share_of_the_known_pixels_is_kept_however_easy(min_kept: float, kept: int) -> None:
    # 0.2 belongs to a pixel that is ignored: 3 are known, and a share is rounded up.
    probabilities, labels = (0.9, 0.8, 0.95, 0.2), torch.tensor([[[1, 1, 1, 255]]])
    kept = math.ceil(3 * min_kept)
    expected = sum(-math.log(probability) for probability in sorted(probabilities[:3])[:kept]) / kept
    loss = OhemCrossEntropy(INFO, min_kept=min_kept)
    assert mean(loss, logits_of(*probabilities), labels) == pytest.approx(expected, rel=1e-5)


def test_each_image_has_a_mean_of_its_own() -> None:
    # Hard in the first: 0.5 and 0.6. In the second nothing is, and its hardest is 0.9.
    logits = torch.cat([logits_of(0.5, 0.6, 0.9, 0.9), logits_of(0.99, 0.9, 0.95, 0.97)])
    expected = (-(math.log(0.5) + math.log(0.6)) / 2 - math.log(0.9)) / 2
    assert mean(OhemCrossEntropy(INFO), logits, torch.ones(2, 1, 4, dtype=torch.int64)) == pytest.approx(expected)


def test_the_hardest_of_all_layers_are_kept() -> None:
    info = DatasetInfo("two", ("a", "b"), ((0, 0, 0),) * 2, frozenset({"multilabel"}))
    logits = logits_of(0.9, 0.6)
    logits[0, 0] = torch.tensor([math.log(4), -math.log(9)])  # 0.8 and 0.1
    layers = torch.tensor([[[[1, 0]], [[1, 1]]]])  # truths of 0.8, 0.9, 0.9 and 0.6
    assert mean(OhemCrossEntropy(info), logits, layers) == pytest.approx(-math.log(0.6))
    assert mean(OhemCrossEntropy(info, min_kept=0.5), logits, layers) == pytest.approx(
        -(math.log(0.6) + math.log(0.8)) / 2
    )
