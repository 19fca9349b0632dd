"""The optimizers of a run; what decays and at which rate a layer is trained is in parameters.py."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from coatseg.errors import ConfigError
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeFloat, PositiveFloat, Rate
from coatseg.training.optimization.parameters import Grouping, parameter_groups


@register("optimizer", "adamw")
def adamw(
    model: nn.Module,
    *,
    lr: PositiveFloat,
    weight_decay: NonNegativeFloat = 0.05,
    betas: tuple[Rate, Rate] = (0.9, 0.999),
    grouping: Grouping = Grouping(),
) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2019)."""
    groups = parameter_groups(model, grouping, lr=lr, weight_decay=weight_decay)
    return _clippable(AdamW(groups, lr=lr, betas=betas, fused=_on_cpu(model)))


@register("optimizer", "sgd")
def sgd(
    model: nn.Module,
    *,
    lr: PositiveFloat,
    momentum: Rate = 0.9,
    weight_decay: NonNegativeFloat = 1e-4,
    nesterov: bool = False,
    grouping: Grouping = Grouping(),
) -> Optimizer:
    """Stochastic gradient descent with momentum (Sutskever et al., 2013), in torch's form.

    Raises:
        ConfigError: nesterov without momentum.
    """
    if nesterov and momentum == 0:
        raise ConfigError(
            "optimizer.nesterov=true looks ahead along a momentum, and optimizer.momentum is 0.",
            "Set optimizer.momentum=0.9, or leave nesterov out.",
        )
    groups = parameter_groups(model, grouping, lr=lr, weight_decay=weight_decay)
    return _clippable(SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=_on_cpu(model)))


def _on_cpu(model: nn.Module) -> bool:
    """Return whether to take the fused form: on CPUs it takes a quarter of the time."""
    return all(parameter.device.type == "cpu" for parameter in model.parameters())


def _clippable(optimizer: Optimizer) -> Optimizer:
    # A fused optimizer offers to unscale fp16 gradients itself, and Lightning then refuses to clip them.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer
