"""A backbone and a head as one model that takes images of any size."""

from __future__ import annotations

from collections.abc import Sequence
from math import lcm
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from coatseg.models.heads.base import ObjectHead
from coatseg.models.image_padding import Padded, pad
from coatseg.models.unused_parameters import Probed
from coatseg.structures import Backbone, Head, Outputs, Size


class Model(Probed):
    """Images (B, C, H, W) to float32 logits (B, classes, H, W).

    Images are padded to the heads' divisors and outputs cropped in here (see image_padding.py): no caller thinks about
    sizes.
    `auxiliary` is a second head whose logits only the training sees. A head that brings losses of its own, an
    ObjectHead, is trained by them.
    """

    def __init__(self, backbone: Backbone, head: Head, auxiliary: Head | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.auxiliary = auxiliary

    @property
    def brings_losses(self) -> bool:
        """Whether the head has losses of its own, against the targets that `forward` is then given in training."""
        return isinstance(self.head, ObjectHead)

    def forward(
        self, images: Tensor, sizes: Sequence[Size] | None = None, targets: Sequence[Tensor] | None = None
    ) -> Any:
        """Pad with zeros (the mean colour) at the bottom and right, predict, resize the logits, crop.

        `sizes` are the (height, width) of the images where they are padded already, with anything. Each is then padded
        with zeros up to its own multiple of the divisor, as it would be alone: that is the size its features are of.
        Decoders know nothing of padding, so in evaluation the head runs on each image's own part of the pyramid, and
        the logits are those of the image alone; in training it runs once, on the padded pyramid, for the sake of norms
        over the batch. Logits beyond an image's size are zero. torch.compile leaves calls with sizes as they are.

        Returns Outputs, or with `targets` the losses by name of a head that brings them: `targets` are label maps
        (H, W) int64 of each image without padding, negative where the class is unknown.

        Raises:
            ConfigError: there are not as many sizes as images, or one is larger than the images.
        """
        if targets is not None:
            return self._losses(images, sizes, targets)
        return self._predict(images) if sizes is None else self._predict_eagerly(images, sizes)

    def _losses(self, images: Tensor, sizes: Sequence[Size] | None, targets: Sequence[Tensor]) -> dict[str, Tensor]:
        head = cast(ObjectHead, self.head)
        padded = pad(images, sizes, head.divisor)
        pyramid = self.backbone(padded.images, padded.own)
        losses: dict[str, Tensor] = head(padded.images, pyramid, padded.sizes, targets)
        return losses

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the model; of a head that brings losses what is the same for every image, and the backbone."""
        if not self.brings_losses:
            super().compile(*args, **kwargs)
            return
        backbone: Any = self.backbone
        for part in (backbone, *cast(ObjectHead, self.head).compilable()):
            part.compile(*args, **kwargs)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _predict_eagerly(self, images: Tensor, sizes: Sequence[Size]) -> Outputs:
        # A compiled graph would be for these sizes only: every batch would be compiled anew, until torch gave up.
        return self._predict(images, sizes)

    def _predict(self, images: Tensor, sizes: Sequence[Size] | None = None) -> Outputs:
        auxiliary = self.auxiliary if self.training else None
        padded = pad(images, sizes, lcm(self.head.divisor, 1 if auxiliary is None else auxiliary.divisor))
        pyramid = self.backbone(padded.images, padded.own)
        if padded.own is not None and not self.training:
            maps = [torch.cat([self._alone(*one, padded) for one in padded.alone(pyramid, self.backbone.levels)])]
        else:
            heads = [head for head in (self.head, auxiliary) if head is not None]
            maps = [_resized(head(padded.images, pyramid).float(), padded.images) for head in heads]
        return Outputs(*map(padded.without, maps))

    def _alone(self, image: Tensor, pyramid: Sequence[Tensor], batch: Padded) -> Tensor:
        """Return the logits of one image of a batch by its own part of the pyramid, padded to the size of the batch."""
        logits = _resized(self.head(image, pyramid).float(), image)
        (rows, columns), (height, width) = logits.shape[-2:], batch.images.shape[-2:]
        return functional.pad(logits, (0, width - columns, 0, height - rows))

    def probe(self, images: Tensor) -> tuple[list[Tensor], list[nn.Parameter]]:
        """Return all outputs of training, and the parameters that these are to depend on."""
        return [logits for logits in self(images) if logits is not None], list(self.parameters())


def _resized(logits: Tensor, images: Tensor) -> Tensor:
    if logits.shape[-2:] == images.shape[-2:]:
        return logits
    return functional.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)
