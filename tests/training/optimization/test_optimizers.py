"""Steps of the optimizers against their papers' formulas."""

import pytest
import torch
from torch import nn

from coatseg.errors import ConfigError
from coatseg.training.optimization.optimizers import adamw, sgd
from coatseg.training.optimization.parameters import Grouping


def gradients(layer: nn.Linear, step: int) -> None:
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, 0.3 + step)


def test_a_step_without_gradient_signal_shrinks_only_what_decays() -> None:
    layer = nn.Linear(2, 2)
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    optimizer = adamw(layer, lr=0.1, weight_decay=0.5)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before["weight"] * (1 - 0.1 * 0.5))
    torch.testing.assert_close(layer.bias.detach(), before["bias"])


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_by_its_formula(nesterov: bool) -> None:
    layer = nn.Linear(2, 2)
    weight, velocity = layer.weight.detach().clone().double(), torch.zeros(2, 2).double()
    optimizer = sgd(layer, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=nesterov)
    for step in range(4):
        gradients(layer, step)
        slope = 0.3 + step + 0.01 * weight
        velocity = 0.9 * velocity + slope
        weight = weight - 0.1 * (slope + 0.9 * velocity if nesterov else velocity)
        optimizer.step()
    torch.testing.assert_close(layer.weight.detach().double(), weight, rtol=1e-5, atol=1e-6)


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.momentum is 0"):
        sgd(nn.Linear(2, 2), lr=0.1, momentum=0.0, nesterov=True)


@pytest.mark.parametrize("make", [adamw, sgd])
def test_layers_move_at_their_own_rates(make) -> None:  # type: ignore[no-untyped-def]
    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)

        def depths(self) -> dict[str, int]:
            return {"first.weight": 0, "second.weight": 1}

    model = nn.ModuleDict({"backbone": Chain(), "head": nn.Linear(1, 1, bias=False)})
    before = {name: parameter.item() for name, parameter in model.named_parameters()}
    optimizer = make(model, lr=0.1, weight_decay=0.0, grouping=Grouping(layer_decay=0.5, backbone_rate=0.8))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name: before[name] - parameter.item() for name, parameter in model.named_parameters()}
    expected = {
        "backbone.first.weight": 0.1 * 0.8 * 0.25,
        "backbone.second.weight": 0.1 * 0.8 * 0.5,
        "head.weight": 0.1,
    }
    assert moved == pytest.approx(expected, rel=1e-4)
