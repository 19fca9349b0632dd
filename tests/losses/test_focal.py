import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from coatseg.errors import ConfigError
from coatseg.losses.base import SemanticLoss
from coatseg.losses.cross_entropy import CrossEntropy
from coatseg.losses.focal import Focal
from coatseg.structures import DatasetInfo
from tests.contracts.loss import LossContract, PixelLossContract, info_of, label_maps
from tests.losses.example import INFO, ONE, RIGHT, WRONG, layer_mean, mean


class TestFocal(PixelLossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return Focal(info)


class TestAlpha(LossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return Focal(info, alpha=[0.25, 0.5, 0.9])


class TestSmallGamma(LossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return Focal(info, gamma=0.5)


def test_by_hand() -> None:
    # The truth has the probabilities 3/4, 3/4 and 1/4.
    right, wrong = (1 / 4) ** 2 * RIGHT, (3 / 4) ** 2 * WRONG
    assert mean(Focal(INFO)) == pytest.approx((2 * right + wrong) / 3)
    assert layer_mean(Focal(ONE)) == pytest.approx((2 * right + wrong) / 3)
    assert mean(Focal(INFO, alpha=[0.1, 0.8])) == pytest.approx((2 * 0.8 * right + 0.1 * wrong) / 3)
    assert layer_mean(Focal(ONE, alpha=0.8)) == pytest.approx((2 * 0.8 * right + 0.2 * wrong) / 3)


def test_gamma_zero_is_cross_entropy() -> None:
    logits, labels = torch.randn(2, 3, 6, 7), label_maps(2, 3)
    expected = mean(CrossEntropy(info_of(3)), logits, labels)
    assert mean(Focal(info_of(3), gamma=0.0), logits, labels) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_layers_are_torchvisions(alpha: float | None) -> None:
    logits, layers = torch.randn(2, 3, 5, 7), torch.randint(0, 2, (2, 3, 5, 7))
    expected = sigmoid_focal_loss(logits, layers.float(), alpha=-1 if alpha is None else alpha, reduction="mean")
    assert mean(Focal(info_of(3), alpha=alpha), logits, layers) == pytest.approx(float(expected), rel=1e-5)


def test_alphas_are_one_a_class() -> None:
    with pytest.raises(ConfigError, match=r"loss\.focal\.alpha has 3 entries for 2 classes"):
        Focal(INFO, alpha=[0.1, 0.2, 0.3])
