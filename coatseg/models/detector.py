"""A backbone and a head that finds objects or segments, as one model that takes images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from coatseg.models.heads.base import ObjectHead
from coatseg.models.image_padding import pad
from coatseg.models.unused_parameters import Probed
from coatseg.structures import Backbone, Size


class Detector(Probed):
    """Images (B, C, H, W) to the objects or segments of each, or in training to losses.

    Images are padded to the head's divisor in here, and the backbone is told their valid sizes (see image_padding.py).
    """

    def __init__(self, backbone: Backbone, head: ObjectHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(
        self,
        images: Tensor,
        sizes: Sequence[Size] | None = None,
        targets: Sequence[Any] | None = None,
    ) -> Any:
        """Return what is found in each image as a list, or the losses against `targets` by name (see ObjectHead).

        `sizes` are the (height, width) of the images where they are padded already, with anything. The backbone's
        features are those of each image alone. In evaluation the head runs on each image's own part of them, so that
        what it finds is what it finds in the image alone; in training it runs once, and its convolutions and norms see
        zeros beyond an image's edge. Boxes are in pixels of the image.

        Raises:
            ConfigError: there are not as many sizes as images, or one is larger than the images.
        """
        padded = pad(images, sizes, self.head.divisor)
        pyramid = self.backbone(padded.images, padded.own)
        if padded.own is not None and targets is None:
            each = zip(padded.alone(pyramid, self.backbone.levels), padded.sizes, strict=True)
            return [self.head(image, features, [size])[0] for (image, features), size in each]
        return self.head(padded.images, pyramid, padded.sizes, targets)

    def probe(self, images: Tensor) -> tuple[list[Tensor], list[nn.Parameter]]:
        """Return the head's maps, and the parameters of the backbone: those of the head are all of use."""
        backbone: Any = self.backbone
        return self.head.maps(backbone(images)), list(backbone.parameters())

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the backbone, and of the head what is the same for every image."""
        backbone: Any = self.backbone
        for part in (backbone, *self.head.compilable()):
            part.compile(*args, **kwargs)
