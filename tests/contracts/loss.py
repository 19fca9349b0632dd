"""What every loss keeps, for labels of both kinds: inherit `LossContract` and say how to make one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from coatseg.losses.base import SemanticLoss
from coatseg.structures import DatasetInfo

IGNORE = 255
SIZE = (6, 7)


def info_of(classes: int) -> DatasetInfo:
    names = tuple("abcdefgh"[:classes])
    return DatasetInfo("letters", names, ((0, 0, 0),) * classes, frozenset({"semantic", "multilabel"}))


def label_maps(batch: int, classes: int) -> Tensor:
    return torch.randint(0, classes, (batch, *SIZE))


def layers(batch: int, classes: int) -> Tensor:
    return torch.randint(0, 2, (batch, classes, *SIZE), dtype=torch.uint8)


def with_gaps(labels: Tensor) -> Tensor:
    """Ignore all of the first image and a part of the second."""
    labels[0] = IGNORE
    labels[1, ..., :4, :] = IGNORE
    return labels


def right_logits(labels: Tensor, classes: int, confidence: float) -> Tensor:
    if labels.ndim == 4:
        return confidence * (2.0 * labels - 1)
    return confidence * (2.0 * functional.one_hot(labels, classes).permute(0, 3, 1, 2) - 1)


class LossContract:
    """`make` builds the loss for the classes of a dataset.

    Where logits are right by `certain`, the loss is near its minimum, below `at_best`.
    """

    certain = 30.0
    at_best = 1e-4

    def make(self, info: DatasetInfo) -> SemanticLoss:
        raise NotImplementedError

    @pytest.fixture(params=[label_maps, layers])
    def draw(self, request):
        return request.param

    @pytest.fixture
    def loss(self):
        return self.make(info_of(3))

    def test_it_gives_float32_numbers(self, loss, draw):
        logits, labels = torch.randn(2, 3, *SIZE), draw(2, 3)
        total, weight = loss(logits, labels), loss.weight(labels)
        assert (total.dtype, weight.dtype) == (torch.float32, torch.float32)
        assert total.shape == weight.shape == ()
        assert total > 0
        assert weight > 0

    def test_16_bit_autocast_changes_nothing(self, loss, draw):
        logits, labels = torch.randn(2, 3, *SIZE), draw(2, 3)
        with torch.autocast("cpu", torch.bfloat16):
            total = loss(logits, labels)
        assert total.dtype == torch.float32
        torch.testing.assert_close(total, loss(logits, labels))

    def test_sums_and_weights_add_up_over_any_split_of_a_batch(self, loss, draw):
        logits, labels = torch.randn(4, 3, *SIZE), with_gaps(draw(4, 3))
        for cuts in ([1, 3], [2, 2], [1, 1, 1, 1]):
            parts = list(zip(logits.split(cuts), labels.split(cuts), strict=True))
            torch.testing.assert_close(sum(loss(*part) for part in parts), loss(logits, labels))
            torch.testing.assert_close(sum(loss.weight(part) for _, part in parts), loss.weight(labels))

    def test_padding_with_the_ignore_index_changes_nothing(self, loss, draw):
        logits, labels = torch.randn(4, 3, *SIZE), with_gaps(draw(4, 3))
        wider = functional.pad(labels, (0, 3, 0, 5), value=IGNORE)
        torch.testing.assert_close(loss(functional.pad(logits, (0, 3, 0, 5), value=1.0), wider), loss(logits, labels))
        torch.testing.assert_close(loss.weight(wider), loss.weight(labels))

    def test_only_known_pixels_have_a_gradient(self, loss, draw):
        logits, labels = torch.randn(4, 3, *SIZE, requires_grad=True), with_gaps(draw(4, 3))
        loss(logits, labels).backward()
        known = (labels != IGNORE) if labels.ndim == 4 else (labels != IGNORE).unsqueeze(1).expand_as(logits)
        assert logits.grad.isfinite().all()
        assert logits.grad[known].abs().sum() > 0
        assert logits.grad[~known].abs().sum() == 0

    def test_a_batch_without_a_known_pixel_costs_nothing(self, loss, draw):
        logits, labels = torch.randn(2, 3, *SIZE, requires_grad=True), torch.full_like(draw(2, 3), IGNORE)
        total = loss(logits, labels)
        assert float(total) == float(loss.weight(labels)) == 0
        total.backward()
        assert logits.grad.abs().sum() == 0

    def test_layers_without_a_class_are_finite(self, loss):
        logits, labels = torch.randn(2, 3, *SIZE, requires_grad=True), torch.zeros(2, 3, *SIZE, dtype=torch.uint8)
        total = loss(logits, labels)
        total.backward()
        assert total.isfinite()
        assert logits.grad.isfinite().all()

    @pytest.mark.parametrize("sign", [1, -1])
    def test_extreme_logits_are_finite(self, loss, draw, sign):
        labels = draw(2, 3)
        logits = right_logits(labels, 3, sign * 1e4).requires_grad_()
        total = loss(logits, labels)
        total.backward()
        assert total.isfinite()
        assert logits.grad.isfinite().all()

    def test_right_is_best_and_wrong_is_worst(self, loss, draw):
        labels = with_gaps(draw(4, 3))
        known = torch.where(labels == IGNORE, 0, labels)
        right, unsure, wrong = (
            float(loss(right_logits(known, 3, confidence), labels) / loss.weight(labels))
            for confidence in (self.certain, 0.1, -self.certain)
        )
        assert 0 <= right < self.at_best
        assert right < unsure < wrong

    def test_descent_along_the_gradient_lowers_it(self, loss, draw):
        labels = with_gaps(draw(4, 3))
        logits = torch.zeros(4, 3, *SIZE, requires_grad=True)
        before = loss(logits, labels)
        before.backward()
        after = loss((logits - 0.1 * logits.grad / logits.grad.norm()).detach(), labels)
        assert after < before


class PixelLossContract(LossContract):
    """For losses of single pixels, to which a layer with logits z is the same as two classes with logits (0, z)."""

    def test_one_layer_is_a_problem_of_two_classes(self):
        two, one = self.make(info_of(2)), self.make(info_of(1))
        labels, logits = with_gaps(label_maps(4, 2)), torch.randn(4, 1, *SIZE)
        layer = labels.unsqueeze(1).to(torch.uint8)
        torch.testing.assert_close(one(logits, layer), two(torch.cat([torch.zeros_like(logits), logits], 1), labels))
        torch.testing.assert_close(one.weight(layer), two.weight(labels))
