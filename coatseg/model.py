"""A backbone and a head as one model that takes images of any size."""

from __future__ import annotations

from math import lcm

from torch import Tensor, nn
from torch.nn import functional

from coatseg.structures import Backbone, Head, Outputs


class Model(nn.Module):
    """Images (B, C, H, W) to float32 logits (B, classes, H, W).

    It alone pads images to the heads' divisors and crops what comes out, so that no caller thinks about sizes.
    `auxiliary` is a second head whose logits only the training sees.
    """

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


def _resized(logits: Tensor, images: Tensor) -> Tensor:
    if logits.shape[-2:] == images.shape[-2:]:
        return logits
    return functional.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)
