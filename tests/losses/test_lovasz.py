import itertools

import pytest
import torch
from segmentation_models_pytorch.losses.lovasz import _lovasz_hinge, _lovasz_softmax

from coatseg.losses.base import SemanticLoss
from coatseg.losses.lovasz import Lovasz, lovasz_extension
from coatseg.structures import DatasetInfo
from tests.contracts.loss import LossContract, info_of, label_maps
from tests.losses.example import INFO, LAYER_LOGITS, ONE, layer_mean, mean


class TestLovasz(LossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return Lovasz(info)


def test_at_the_corners_it_is_the_jaccard_loss() -> None:
    """A Lovasz extension agrees with its set function where every error is 0 or 1 (the paper's definition 2)."""
    for truth, wrong in itertools.product(itertools.product([0, 1], repeat=4), repeat=2):
        there, errors = torch.tensor([truth]).bool(), torch.tensor([wrong]).float()
        predicted = there ^ errors.bool()
        union = int((there | predicted).sum())
        jaccard_loss = 1 - int((there & predicted).sum()) / union if union else 0.0
        assert float(lovasz_extension(errors, there)) == pytest.approx(jaccard_loss)


def test_softmax_by_hand() -> None:
    # Errors of b: 1/4, 1/4 (both b), 3/4 (an a). Sorted: the a makes the union 3 and the index 2/3, so it adds 1/3;
    # each b then adds 1/3. Errors of a are the same: sorted, the a adds 1/1, and nothing is left to add.
    b = 3 / 4 * 1 / 3 + 1 / 4 * 1 / 3 + 1 / 4 * 1 / 3
    a = 3 / 4
    assert mean(Lovasz(INFO)) == pytest.approx((a + b) / 2)


def test_hinge_by_hand() -> None:
    # Margins with logits ln 3 = 1.0986: b costs max(0, 1 - 1.0986) = 0, a costs 1 + 1.0986, and adds 1/3.
    assert layer_mean(Lovasz(ONE)) == pytest.approx((1 + float(LAYER_LOGITS.max())) / 3)


def test_a_layer_without_its_class_costs_the_worst_false_positive() -> None:
    logits = torch.tensor([[[[-3.0, 0.5, 2.0, -0.5]]]])
    assert mean(Lovasz(ONE), logits, torch.zeros(1, 1, 1, 4, dtype=torch.uint8)) == pytest.approx(3.0)


def test_it_is_the_authors_softmax_per_image() -> None:
    logits, labels = torch.randn(3, 4, 6, 7, requires_grad=True), label_maps(3, 3)
    labels[:, 0] = 255
    expected = _lovasz_softmax(logits.softmax(1), labels, classes="present", per_image=True, ignore=255)
    loss = Lovasz(info_of(4))
    value = loss(logits, labels) / loss.weight(labels)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(
        torch.autograd.grad(value, logits), torch.autograd.grad(expected, logits), rtol=1e-4, atol=1e-6
    )


def test_it_is_the_authors_hinge_per_image() -> None:
    logits, layers = torch.randn(3, 1, 6, 7), torch.randint(0, 2, (3, 1, 6, 7), dtype=torch.uint8)
    layers[:, :, 0] = 255
    layers[0, :, 1:] = 0
    expected = _lovasz_hinge(logits[:, 0], layers[:, 0].long(), per_image=True, ignore=255)
    assert mean(Lovasz(ONE), logits, layers) == pytest.approx(float(expected), rel=1e-5)
