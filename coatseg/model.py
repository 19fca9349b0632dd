"""A backbone and a head as one model that takes images of any size."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from coatseg.structures import Backbone, Head


class Model(nn.Module):
    """Images (B, C, H, W) to float32 logits (B, classes, H, W).

    It alone pads images to the head's divisor and crops what comes out, so that no caller thinks about sizes.
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Pad with zeros (the mean colour) at the bottom and right, predict, resize the logits, crop."""
        height, width = images.shape[-2:]
        divisor = self.head.divisor
        padded = functional.pad(images, (0, -width % divisor, 0, -height % divisor))
        logits = self.head(padded, self.backbone(padded)).float()
        if logits.shape[-2:] != padded.shape[-2:]:
            logits = functional.interpolate(logits, padded.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]
