"""The optimizers of a run.

Both take `layer_decay`, by which the learning rate falls from each depth of the backbone to the one below it, and
`backbone_rate`, the backbone's share of `lr`; heads are trained at `lr` itself (see parameters.py). With `decay_all`
norms, biases and class tokens decay too.
"""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from coatseg.errors import ConfigError
from coatseg.registry.names import register
from coatseg.registry.options import NonNegativeFloat, PositiveFloat, PositiveShare, Rate
from coatseg.training.optimization.parameters import parameter_groups


@register("optimizer", "adamw")
def adamw(
    model: nn.Module,
    *,
    lr: PositiveFloat,
    weight_decay: NonNegativeFloat = 0.05,
    betas: tuple[Rate, Rate] = (0.9, 0.999),
    layer_decay: PositiveShare = 1.0,
    backbone_rate: PositiveShare = 1.0,
    decay_all: bool = False,
) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2019)."""
    groups = parameter_groups(
        model,
        lr=lr,
        weight_decay=weight_decay,
        layer_decay=layer_decay,
        backbone_rate=backbone_rate,
        decay_all=decay_all,
    )
    return _clippable(AdamW(groups, lr=lr, betas=betas, fused=_on_cpu(model)))


@register("optimizer", "sgd")
def sgd(
    model: nn.Module,
    *,
    lr: PositiveFloat,
    momentum: Rate = 0.9,
    weight_decay: NonNegativeFloat = 1e-4,
    nesterov: bool = False,
    layer_decay: PositiveShare = 1.0,
    backbone_rate: PositiveShare = 1.0,
    decay_all: bool = False,
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
    groups = parameter_groups(
        model,
        lr=lr,
        weight_decay=weight_decay,
        layer_decay=layer_decay,
        backbone_rate=backbone_rate,
        decay_all=decay_all,
    )
    return _clippable(SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=_on_cpu(model)))


def _on_cpu(model: nn.Module) -> bool:
    """Say whether to take the fused form: on CPUs it takes a quarter of the time."""
    return all(parameter.device.type == "cpu" for parameter in model.parameters())


def _clippable(optimizer: Optimizer) -> Optimizer:
    # A fused optimizer offers to unscale fp16 gradients itself, and Lightning then refuses to clip them.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer
