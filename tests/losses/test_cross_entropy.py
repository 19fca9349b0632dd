from collections.abc import Sequence

import pytest
import torch

from coatseg.errors import ConfigError
from coatseg.losses.base import SemanticLoss
from coatseg.losses.cross_entropy import CrossEntropy, near_boundary
from coatseg.structures import DatasetInfo
from tests.contracts.loss import LossContract, PixelLossContract, info_of
from tests.losses.example import INFO, ONE, RIGHT, WRONG, layer_mean, mean


class TestCrossEntropy(PixelLossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return CrossEntropy(info)


class TestClassWeights(LossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return CrossEntropy(info, class_weights=[0.5, 2.0, 3.0][: len(info.classes)])


class TestSmoothing(PixelLossContract):
    certain, at_best = 2.0, 0.4  # smoothing makes more certainty dear

    def make(self, info: DatasetInfo) -> SemanticLoss:
        return CrossEntropy(info, smoothing=0.05)


class TestBoundary(PixelLossContract):
    def make(self, info: DatasetInfo) -> SemanticLoss:
        return CrossEntropy(info, boundary_weight=4.0, boundary_distance=1)


def test_it_averages_over_the_pixels_that_are_not_ignored() -> None:
    assert mean(CrossEntropy(INFO)) == pytest.approx((2 * RIGHT + WRONG) / 3)
    assert layer_mean(CrossEntropy(ONE)) == pytest.approx((2 * RIGHT + WRONG) / 3)


def test_class_weights_weigh_pixels_and_normaliser() -> None:
    loss = CrossEntropy(INFO, class_weights=[2.0, 1.0])
    assert mean(loss) == pytest.approx((2 * RIGHT + 2 * WRONG) / 4)


def test_class_weights_of_layers_weigh_pixels_where_the_class_is() -> None:
    assert layer_mean(CrossEntropy(ONE, class_weights=[5.0])) == pytest.approx((5 * 2 * RIGHT + WRONG) / 3)


def test_smoothing_mixes_in_the_uniform_distribution() -> None:
    uniform = (RIGHT + WRONG) / 2
    expected = 0.8 * (2 * RIGHT + WRONG) / 3 + 0.2 * uniform
    assert mean(CrossEntropy(INFO, smoothing=0.2)) == pytest.approx(expected)
    assert layer_mean(CrossEntropy(ONE, smoothing=0.2)) == pytest.approx(expected)


def test_pixels_near_a_boundary_weigh_more_in_sum_and_normaliser() -> None:
    # b b a ignored: the second and the third have another label beside them.
    loss = CrossEntropy(INFO, boundary_weight=4.0, boundary_distance=1)
    assert mean(loss) == pytest.approx((RIGHT + 4 * RIGHT + 4 * WRONG) / 9)
    loss = CrossEntropy(INFO, boundary_weight=4.0, boundary_distance=2, class_weights=[2.0, 1.0])
    assert mean(loss) == pytest.approx((8 * RIGHT + 8 * WRONG) / 16)
    assert layer_mean(CrossEntropy(ONE, boundary_weight=4.0, boundary_distance=1)) == pytest.approx(
        (RIGHT + 4 * RIGHT + 4 * WRONG) / 9
    )


def test_boundaries_are_between_known_labels_as_far_as_the_distance() -> None:
    labels = torch.tensor([[[0, 0, 0, 0, 7, 7], [0, 0, 0, 0, 7, 7], [0, 255, 255, 255, 255, 255], [3, 3, 3, 0, 3, 3]]])
    expected = [[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0]]
    assert near_boundary(labels, 255, 1).int().tolist() == [expected]
    assert near_boundary(labels, 255, 6).tolist() == (labels != 255).tolist()


def test_every_layer_has_boundaries_of_its_own() -> None:
    layers = torch.tensor([[[[0, 0, 1, 1, 1]], [[1, 1, 1, 1, 0]]]], dtype=torch.uint8)
    assert near_boundary(layers, 255, 1).int().tolist() == [[[[0, 1, 1, 0, 0]], [[0, 0, 0, 1, 1]]]]


@pytest.mark.parametrize(("weights", "smoothing"), [(None, 0.0), ([0.3, 2.0], 0.0), (None, 0.1), ([0.3, 2.0], 0.1)])
def test_it_is_torchs_mean(weights: Sequence[float] | None, smoothing: float) -> None:
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


def test_layers_are_torchs_mean_of_the_known() -> None:
    logits, layers = torch.randn(2, 3, 5, 7), torch.randint(0, 2, (2, 3, 5, 7), dtype=torch.uint8)
    layers[0, :, :2] = 255
    known, weights = layers != 255, torch.tensor([0.5, 2.0, 3.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[known], layers[known].float(), pos_weight=weights.view(-1, 1, 1).expand_as(logits)[known]
    )
    loss = CrossEntropy(info_of(3), class_weights=weights.tolist())
    assert mean(loss, logits, layers) == pytest.approx(float(expected), rel=1e-5)


def test_wrong_options_are_named() -> None:
    with pytest.raises(ConfigError, match="3 entries for 2 classes"):
        CrossEntropy(INFO, class_weights=[1, 2, 3])
    with pytest.raises(ConfigError, match="smoothing"):
        CrossEntropy(INFO, smoothing=1.5)
