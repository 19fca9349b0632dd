"""A backbone and a head as one model that takes images of any size."""

from __future__ import annotations

from math import lcm

import torch
from torch import Tensor, nn
from torch.nn import functional

from coatseg.errors import ConfigError
from coatseg.structures import Backbone, Head, Outputs


class Model(nn.Module):
    """Images (B, C, H, W) to float32 logits (B, classes, H, W).

    It alone pads images to the heads' divisors and crops what comes out, so that no caller thinks about sizes.
    `auxiliary` is a second head whose logits only the training sees.
    """

    unused: tuple[str, ...] = ()
    """The parameters that `freeze_unused` found without use."""

    def __init__(self, backbone: Backbone, head: Head, auxiliary: Head | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.auxiliary = auxiliary

    def forward(self, images: Tensor) -> Outputs:
        """Pad with zeros (the mean colour) at the bottom and right, predict, resize the logits, crop."""
        height, width = images.shape[-2:]
        auxiliary = self.auxiliary if self.training else None
        divisor = lcm(self.head.divisor, 1 if auxiliary is None else auxiliary.divisor)
        padded = functional.pad(images, (0, -width % divisor, 0, -height % divisor))
        pyramid = self.backbone(padded)
        maps = [head(padded, pyramid).float() for head in (self.head, auxiliary) if head is not None]
        return Outputs(*(_resized(logits, padded)[..., :height, :width] for logits in maps))


PROBES = (64, 224, 256, 384)
"""Sides of the images to try a model on, in pixels; a few of timm's models take one size only, mostly one of these."""


def freeze_unused(model: Model, channels: int) -> None:
    """Exclude parameters without use from the training, and name them as `model.unused`.

    Heads that leave coarse levels out leave the backbone's last stages without use. A distributed training would wait
    for their gradients, and weight decay would shrink them.
    """
    model.unused = tuple(unused_parameters(model, channels))
    for name in model.unused:
        model.get_parameter(name).requires_grad_(False)


def unused_parameters(model: Model, channels: int) -> list[str]:
    """Name the trainable parameters that no output depends on, an auxiliary head's included.

    The model is run once on a small black image of so many channels. Its gradients, its mode of training, the
    statistics of its norms and the state of the random numbers stay as they are. None are named if the model takes
    images of none of the sizes in `PROBES`.
    """
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    parts = [(part, part.training) for part in model.modules()]
    device = next(model.parameters()).device
    model.eval()
    model.training = True  # of the model alone: it runs its auxiliary head, while norms and dropout are at rest
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            outputs = [output.sum() for output in _probe(model, channels, device) if output is not None]
            if not any(output.requires_grad for output in outputs):
                return []
            gradients = torch.autograd.grad(torch.stack(outputs).sum(), list(trainable.values()), allow_unused=True)
    finally:
        for part, training in parts:
            part.training = training
    return [name for name, gradient in zip(trainable, gradients, strict=True) if gradient is None]


def _probe(model: Model, channels: int, device: torch.device) -> tuple[Tensor | None, ...]:
    for side in PROBES:
        try:
            outputs: Outputs = model(torch.zeros(1, channels, side, side, device=device))
        except ConfigError:  # not a size for this backbone
            continue
        return outputs
    return ()


def _resized(logits: Tensor, images: Tensor) -> Tensor:
    if logits.shape[-2:] == images.shape[-2:]:
        return logits
    return functional.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)
