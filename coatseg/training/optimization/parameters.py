"""Parameter groups: which parameters decay, and at which share of the run's learning rate each is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from coatseg.registry.options import OptionGroup, PositiveShare

COMPILED = "_orig_mod."
"""What torch.compile puts into the names of the parameters of a module that it wraps."""


@dataclass(frozen=True, kw_only=True)
class Grouping(OptionGroup):
    """The options of every optimizer that tell parameters apart.

    With `layer_decay` the learning rate falls from each depth of the backbone to the one below it; `backbone_rate` is
    the backbone's share of `lr`. Heads are trained at `lr` itself. With `decay_all` norms, biases and class tokens
    decay too.
    """

    layer_decay: PositiveShare = 1.0
    backbone_rate: PositiveShare = 1.0
    decay_all: bool = False


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Return whether weight decay applies: not to norms and biases (one-dimensional), nor to class tokens."""
    return parameter.ndim > 1 and "cls_token" not in name


def parameter_groups(
    model: nn.Module, grouping: Grouping = Grouping(), *, lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Put every trainable parameter once into the group of its rate and its weight decay.

    Rates are those of `rate_shares` times `lr`; with `decay_all` everything decays, else what `decays` names. The group
    of the highest rate comes first: it is the rate that is logged.
    """
    shares = rate_shares(model, grouping.layer_decay, grouping.backbone_rate)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((shares[name], grouping.decay_all or decays(name, parameter)), []).append(parameter)
    return [
        {"params": groups[share, decayed], "lr": lr * share, "weight_decay": weight_decay if decayed else 0.0}
        for share, decayed in sorted(groups, reverse=True)
    ]


def rate_shares(model: nn.Module, layer_decay: float = 1.0, backbone_rate: float = 1.0) -> dict[str, float]:
    """Map every parameter's name to its share of the run's learning rate.

    A backbone parameter of depth d has backbone_rate * layer_decay ** (D + 1 - d), where D is the depth of the last
    ones (layer-wise rates: ELECTRA, Clark et al., 2020, appendix A; BEiT, Bao et al., 2022, appendix). Everything that
    is not of `model.backbone` has 1, but for what a head states by `rate_shares` (see ObjectHead).
    """
    inside = {name: name.replace(COMPILED, "") for name, _ in model.named_parameters()}
    stated: Mapping[str, float] = getattr(getattr(model, "head", None), "rate_shares", dict)()
    of_head = {f"head.{name.replace(COMPILED, '')}": share for name, share in stated.items()}
    shares = {name: of_head.get(path, 1.0) for name, path in inside.items()}
    own = {name: path.removeprefix("backbone.") for name, path in inside.items() if path.startswith("backbone.")}
    if not own or layer_decay == 1.0:
        return shares | dict.fromkeys(own, backbone_rate)
    depths: dict[str, int] = model.backbone.depths()  # type: ignore[union-attr, operator]
    last = max(depths.values())
    return shares | {name: backbone_rate * layer_decay ** (last + 1 - depths[path]) for name, path in own.items()}
