"""A backbone and a detection head as one model that takes images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from coatseg.models.backbones.padding import as_pairs, find_valid
from coatseg.models.heads.detection.base import DetectionHead, Detections
from coatseg.models.probing import Probed
from coatseg.structures import Backbone, InstanceTarget, Size


class Detector(Probed):
    """Images (B, C, H, W) to the objects of each, or in training to losses.

    It alone pads images to the head's divisor, and tells the backbone their valid sizes.
    """

    def __init__(self, backbone: Backbone, head: DetectionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(
        self,
        images: Tensor,
        sizes: Sequence[Size] | None = None,
        targets: Sequence[InstanceTarget] | None = None,
    ) -> list[Detections] | dict[str, Tensor]:
        """Find the objects of each image, or give the losses against `targets` by name.

        `sizes` are the (height, width) of the images where they are padded already, with anything. The backbone's
        features are those of each image alone. In evaluation the head runs on each image's own part of them, so that
        what it finds is what it finds in the image alone; in training it runs once, and its convolutions and norms see
        zeros beyond an image's edge. Boxes are in pixels of the image.

        Raises:
            ConfigError: there are not as many sizes as images, or one is larger than the images.
        """
        height, width = images.shape[-2:]
        divisor = self.head.divisor
        valid = find_valid(images, as_pairs(sizes))
        own = [(height, width)] * len(images) if valid is None else list(valid.sizes)
        if valid is not None:
            images = valid.keep(images)
        padded = functional.pad(images, (0, -width % divisor, 0, -height % divisor))
        # An image's features are those of itself padded to its own multiple of the divisor, as it would be alone.
        rounded = [(rows + -rows % divisor, columns + -columns % divisor) for rows, columns in own]
        differ = any(size != tuple(padded.shape[-2:]) for size in rounded)
        pyramid = self.backbone(padded, rounded if differ else None)
        if differ and targets is None:
            rows = enumerate(zip(rounded, own, strict=True))
            return [self._alone(padded, pyramid, index, whole, size) for index, (whole, size) in rows]
        outputs: list[Detections] | dict[str, Tensor] = self.head(padded, pyramid, own, targets)
        return outputs

    def _alone(self, images: Tensor, pyramid: Sequence[Tensor], index: int, padded: Size, size: Size) -> Detections:
        """Find the objects of one image of `size`, by its own part of the pyramid, that of its `padded` size."""
        height, width = padded
        own = [
            features[index : index + 1, :, : height // level.stride, : width // level.stride]
            for features, level in zip(pyramid, self.backbone.levels, strict=True)
        ]
        found: list[Detections] = self.head(images[index : index + 1, :, :height, :width], own, [size])
        return found[0]

    def probe(self, images: Tensor) -> tuple[list[Tensor], list[nn.Parameter]]:
        """Give the pyramid's maps, and the parameters of the backbone: those of the head are all of use."""
        backbone: Any = self.backbone
        return list(self.head.fpn(backbone(images)).values()), list(backbone.parameters())

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the backbone and the pyramid; what chooses among boxes has as many as it finds."""
        for part in (self.backbone, self.head.fpn):
            part.compile(*args, **kwargs)  # type: ignore[union-attr]
