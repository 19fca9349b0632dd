"""ReLU and dropout in one are what they are one after the other, but for the random numbers."""

from __future__ import annotations

import pytest
import torch

from coatseg.models.heads.query.dropped_relu import DroppedReLU


def test_what_is_left_is_scaled_to_the_same_mean() -> None:
    values = torch.ones(1000, 1001)
    result = DroppedReLU(0.1).train()(values)
    kept = result > 0
    assert kept.float().mean().item() == pytest.approx(0.9, abs=0.001)
    assert result[kept].unique().tolist() == pytest.approx([1 / 0.9], rel=1e-4)
    assert result.mean().item() == pytest.approx(1, abs=0.001)


def test_what_is_not_above_zero_stays_zero_and_has_no_gradient() -> None:
    values = torch.randn(64, 65).requires_grad_()
    result = DroppedReLU(0.5).train()(values)
    gradient = torch.randn(64, 65)
    result.backward(gradient)
    assert not result[values <= 0].any()
    assert torch.equal(result > 0, values.grad != 0)
    left = result > 0
    torch.testing.assert_close(result[left], 2 * values[left])
    torch.testing.assert_close(values.grad, torch.where(left, 2 * gradient, 0))


def test_the_same_random_state_drops_the_same() -> None:
    values, layer = torch.rand(7, 3), DroppedReLU(0.5).train()
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(layer(values))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("layer", [DroppedReLU(0.5).eval(), DroppedReLU(0.0).train()])
def test_without_dropping_it_is_relu(layer: DroppedReLU) -> None:
    assert layer(torch.tensor([-1.0, 0.0, 2.0])).tolist() == [0, 0, 2]


def test_all_precisions_are_taken() -> None:
    values = torch.ones(10, dtype=torch.bfloat16, requires_grad=True)
    DroppedReLU(0.5).train()(values).sum().backward()
    assert values.grad.dtype == torch.bfloat16


def test_only_the_result_is_kept() -> None:
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        result = DroppedReLU(0.5).train()(torch.ones(10, requires_grad=True))
    assert [tensor.data_ptr() for tensor in kept] == [result.data_ptr()]
