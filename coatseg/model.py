"""A backbone and a head as one model that takes images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm

import torch
from torch import Tensor, nn
from torch.nn import functional

from coatseg.backbones.freezing import at_rest, without_use
from coatseg.backbones.padding import as_pairs, find_valid
from coatseg.errors import ConfigError
from coatseg.structures import Backbone, Head, Outputs, Size


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

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> Outputs:
        """Pad with zeros (the mean colour) at the bottom and right, predict, resize the logits, crop.

        `sizes` are the (height, width) of the images where they are padded already, with anything. Each is then padded
        with zeros up to its own multiple of the divisor, as it would be alone: that is the size its features are of.
        Decoders know nothing of padding, so in evaluation the head runs on each image's own part of the pyramid, and
        the logits are those of the image alone; in training it runs once, on the padded pyramid, for the sake of norms
        over the batch. Logits beyond an image's size are zero. torch.compile leaves calls with sizes as they are.

        Raises:
            ConfigError: there are not as many sizes as images, or one is larger than the images.
        """
        return self._predict(images) if sizes is None else self._predict_eagerly(images, sizes)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _predict_eagerly(self, images: Tensor, sizes: Sequence[Size]) -> Outputs:
        # A compiled graph would be for these sizes only: every batch would be compiled anew, until torch gave up.
        return self._predict(images, sizes)

    def _predict(self, images: Tensor, sizes: Sequence[Size] | None = None) -> Outputs:
        height, width = images.shape[-2:]
        auxiliary = self.auxiliary if self.training else None
        divisor = lcm(self.head.divisor, 1 if auxiliary is None else auxiliary.divisor)
        valid = find_valid(images, as_pairs(sizes))
        if valid is not None:
            images = valid.keep(images)
        padded = functional.pad(images, (0, -width % divisor, 0, -height % divisor))
        own = [] if valid is None else [(h + -h % divisor, w + -w % divisor) for h, w in valid.sizes]
        differ = any(size != padded.shape[-2:] for size in own)
        pyramid = self.backbone(padded, own if differ else None)
        if differ and not self.training:
            maps = [torch.cat([self._alone(padded, pyramid, index, size) for index, size in enumerate(own)])]
        else:
            heads = (self.head, auxiliary)
            maps = [_resized(head(padded, pyramid).float(), padded) for head in heads if head is not None]
        maps = [logits[..., :height, :width] for logits in maps]
        return Outputs(*(maps if valid is None else map(valid.keep, maps)))

    def _alone(self, images: Tensor, pyramid: Sequence[Tensor], index: int, size: Size) -> Tensor:
        """Give the logits of one image of a batch by its own part of the pyramid, padded to the size of the others."""
        height, width = size
        image = images[index : index + 1, :, :height, :width]
        own = [
            features[index : index + 1, :, : height // level.stride, : width // level.stride]
            for features, level in zip(pyramid, self.backbone.levels, strict=True)
        ]
        logits = _resized(self.head(image, own).float(), image)
        return functional.pad(logits, (0, images.shape[-1] - width, 0, images.shape[-2] - height))


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
    names = {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]), at_rest(model):
        model.training = True  # of the model alone: it runs its auxiliary head, while norms and dropout are at rest
        outputs = [output for output in _probe(model, channels, device) if output is not None]
        return [names[parameter] for parameter in without_use(list(names), outputs)] if outputs else []


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
