"""Find the parameters that no output of a model depends on, and exclude them from training."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from coatseg.errors import ConfigError
from coatseg.models.backbones.freezing import at_rest, without_use

PROBES = (64, 224, 256, 384)
"""Sides in pixels of the images to probe a model with; a few models of timm take one size only, mostly one of these."""


class Probed(nn.Module):
    """A model that can be probed for the parameters that its outputs depend on."""

    unused: tuple[str, ...] = ()
    """The names of the parameters that `freeze_unused` found without use."""

    @abstractmethod
    def probe(self, images: Tensor) -> tuple[list[Tensor], list[nn.Parameter]]:
        """Return outputs for images (1, C, H, W), and the parameters that these are to depend on."""


def freeze_unused(model: Probed, channels: int) -> None:
    """Exclude parameters without use from training, and store their names as `model.unused`.

    Heads that do not use the coarse levels leave the backbone's last stages without use. Distributed training would
    wait for their gradients, and weight decay would shrink them.
    """
    model.unused = tuple(unused_parameters(model, channels))
    for name in model.unused:
        model.get_parameter(name).requires_grad_(False)


def unused_parameters(model: Probed, channels: int) -> list[str]:
    """Return the names of the trainable parameters that no output depends on, those of an auxiliary head included.

    The model is run once on a small black image of `channels` channels. Its gradients, its training mode, the
    statistics of its norms and the state of the random number generators are left unchanged. The list is empty if the
    model takes images of none of the sizes in `PROBES`.
    """
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]), at_rest(model):
        model.training = True  # of the model alone: it runs its auxiliary head, while norms and dropout are at rest
        outputs, parameters = _probe(model, channels, device)
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        if not outputs or not trained:
            return []
        names = {parameter: name for name, parameter in model.named_parameters()}
        return [names[parameter] for parameter in without_use(trained, outputs)]


def _probe(model: Probed, channels: int, device: torch.device) -> tuple[list[Tensor], list[nn.Parameter]]:
    for side in PROBES:
        try:
            return model.probe(torch.zeros(1, channels, side, side, device=device))
        except ConfigError:  # not a size for this backbone
            continue
    return [], []
