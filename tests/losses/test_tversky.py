import pytest
import segmentation_models_pytorch as smp
import torch

from coatseg.losses.base import SemanticLoss
from coatseg.losses.dice import Dice
from coatseg.losses.tversky import Tversky
from coatseg.structures import DatasetInfo
from tests.contracts.loss import LossContract, info_of, label_maps
from tests.losses.example import INFO, ONE, layer_mean, mean


class TestTversky(LossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return Tversky(info)


class TestFocalTversky(LossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return Tversky(info, gamma=0.75, smooth=0.0)


def test_by_hand() -> None:
    # Class a: TP 1/4, FP 2 * 1/4, FN 3/4. Class b: TP 2 * 3/4, FP 3/4, FN 2 * 1/4.
    a = 1 - (0.25 + 1) / (0.25 + 0.3 * 0.5 + 0.7 * 0.75 + 1)
    b = 1 - (1.5 + 1) / (1.5 + 0.3 * 0.75 + 0.7 * 0.5 + 1)
    assert mean(Tversky(INFO)) == pytest.approx((a + b) / 2)
    assert layer_mean(Tversky(ONE)) == pytest.approx(b)
    assert mean(Tversky(INFO, gamma=0.75)) == pytest.approx((a**0.75 + b**0.75) / 2)


def test_halves_make_it_dice() -> None:
    logits, labels = torch.randn(2, 3, 6, 7), label_maps(2, 3)
    tversky, dice = Tversky(info_of(3), alpha=0.5, beta=0.5, smooth=0.5), Dice(info_of(3), smooth=1.0)
    assert mean(tversky, logits, labels) == pytest.approx(mean(dice, logits, labels), rel=1e-5)


def test_one_image_of_one_layer_is_smps() -> None:
    logits, layers = torch.randn(1, 1, 5, 7), torch.randint(0, 2, (1, 1, 5, 7))
    expected = smp.losses.TverskyLoss("binary", smooth=1.0, alpha=0.3, beta=0.7, gamma=0.75)(logits, layers)
    assert mean(Tversky(ONE, gamma=0.75), logits, layers) == pytest.approx(float(expected), rel=1e-5)
