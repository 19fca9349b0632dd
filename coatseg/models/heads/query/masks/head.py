"""A head that classifies masks, for semantic, instance and panoptic segmentation alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from coatseg.models.heads.base import ObjectHead
from coatseg.models.heads.query.masks.found import FindingOptions, FoundMasks, class_logits
from coatseg.models.heads.query.masks.losses import MaskLosses, Predictions
from coatseg.models.heads.query.masks.regions import Regions
from coatseg.structures import LOGITS, Size


class MaskDecoder(nn.Module):
    """Maps a pyramid to the classes and mask embeddings of queries, and to the pixels to multiply these with."""

    strides: tuple[int, ...]

    @abstractmethod
    def forward(self, pyramid: Sequence[Tensor], every_layer: bool) -> Predictions:
        """Return the predictions of every layer, or of the last one only."""

    @abstractmethod
    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps (B, C, h, w) of `strides` that the predictions are made of, from fine to coarse."""


class MaskHead(ObjectHead):
    """Classifies the masks of queries, as Mask2Former and MaskFormer do; `output` is what a task takes of it.

    Neither has a padding mask: an image is found the same alone and in a padded batch, since each runs alone in
    evaluation, but in training the queries see padding. What they are compared with lies in the images only.
    """

    gives = frozenset({LOGITS, "masks", "segments"})
    divisor = 32

    def __init__(
        self,
        decoder: MaskDecoder,
        losses: MaskLosses,
        finding: FindingOptions,
        *,
        levels: int,
        things: Sequence[int],
        output: str,
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.losses = losses
        self.finding = finding
        self.levels_used = levels
        self.strides = decoder.strides
        self.things = tuple(things)
        self.output = output

    @property
    def not_exported(self) -> str:  # type: ignore[override]  # nn.Module has no slots to forbid it
        """Why objects and segments are not exported; logits are, as of any dense head."""
        return "" if self.output == LOGITS else "no format holds masks of queries; trained with task=seg it can be"

    def forward(
        self,
        images: Tensor,
        pyramid: Sequence[Tensor],
        sizes: Sequence[Size] | None = None,
        targets: Sequence[Any] | None = None,
    ) -> Any:
        """Return the losses against `targets`, or without them what `output` says: FoundMasks, or logits (B, K, H, W).

        Targets for logits are label maps (H, W) int64, negative where the class is unknown.
        """
        padded = (images.shape[-2], images.shape[-1])
        predictions = self.decoder(pyramid, targets is not None)
        if targets is not None:
            return self.losses(predictions, [Regions.of(target) for target in targets], padded)
        classes, embeddings, pixels = (tensor.float() for tensor in predictions)
        masks = torch.einsum("bqc,bchw->bqhw", embeddings[-1], pixels)
        if self.output == LOGITS:
            return class_logits(classes[-1], masks, padded)
        rows = zip(classes[-1], masks, strict=True)
        return [FoundMasks(row, mask, padded, self.things, self.finding) for row, mask in rows]

    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps of the pixel decoder."""
        return self.decoder.maps(pyramid)

    def compilable(self) -> list[nn.Module]:
        """Return the decoder; how many regions an image has is not known before."""
        return [self.decoder]
