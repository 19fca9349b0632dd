import pytest
import segmentation_models_pytorch as smp
import torch

from coatseg.losses.base import SemanticLoss
from coatseg.losses.dice import Dice
from coatseg.structures import DatasetInfo
from tests.contracts.loss import LossContract, info_of
from tests.losses.example import INFO, LABELS, LAYER, LAYER_LOGITS, LOGITS, ONE, layer_mean, mean


class TestDice(LossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return Dice(info)


class TestWithoutSmoothing(LossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return Dice(info, smooth=0.0)


def test_by_hand() -> None:
    # Class a: overlap 1/4, probabilities 3/4, truth 1. Class b: overlap 3/2, probabilities 9/4, truth 2.
    smooth = 1.0
    a = 1 - (2 * 0.25 + smooth) / (0.75 + 1 + smooth)
    b = 1 - (2 * 1.5 + smooth) / (2.25 + 2 + smooth)
    assert mean(Dice(INFO, smooth=smooth)) == pytest.approx((a + b) / 2)
    assert layer_mean(Dice(ONE, smooth=smooth)) == pytest.approx(b)


def test_classes_that_the_image_does_not_show_are_left_out() -> None:
    labels = torch.tensor([[[1, 1, 1, 255]]])
    assert mean(Dice(INFO, smooth=0.0), labels=labels) == pytest.approx(1 - 2 * 2.25 / (2.25 + 3))


def test_an_image_whose_layers_show_no_class_counts_nothing() -> None:
    logits, layers = torch.cat([LAYER_LOGITS, LAYER_LOGITS]), torch.cat([LAYER, torch.zeros_like(LAYER)])
    assert mean(Dice(ONE), logits, layers) == pytest.approx(layer_mean(Dice(ONE)))


def test_one_image_of_layers_is_smps() -> None:
    logits, layers = torch.randn(1, 3, 5, 7), torch.randint(0, 2, (1, 3, 5, 7))
    expected = smp.losses.DiceLoss("multilabel")(logits, layers)
    assert mean(Dice(info_of(3), smooth=0.0), logits, layers) == pytest.approx(float(expected), rel=1e-5)


def test_one_image_of_classes_is_smps() -> None:
    logits, labels = torch.randn(1, 3, 5, 7), torch.randint(0, 3, (1, 5, 7))
    labels[0, :2] = 255
    expected = smp.losses.DiceLoss("multiclass", ignore_index=255)(logits, labels)
    assert mean(Dice(info_of(3), smooth=0.0), logits, labels) == pytest.approx(float(expected), rel=1e-5)


def test_it_is_finite_where_nothing_is_there_and_nothing_predicted() -> None:
    logits = LOGITS.clone()
    logits[:, 0] = -1e4
    assert mean(Dice(INFO, smooth=0.0), logits, torch.ones_like(LABELS)) == pytest.approx(0, abs=1e-6)
