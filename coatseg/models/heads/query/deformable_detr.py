"""Deformable DETR (Zhu et al., 2021): boxes found by queries that look at a few points of each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import box_convert, clip_boxes_to_image

from coatseg.errors import ConfigError
from coatseg.models.heads.base import ObjectHead, without_crowds
from coatseg.models.heads.detection.base import DIVISOR
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.heads.query.box_losses import Guesses, Truth, box_losses
from coatseg.models.heads.query.canvases import Canvases
from coatseg.models.heads.query.deformable_layers import TransformerOptions
from coatseg.models.heads.query.deformable_transformer import DeformableTransformer, Outputs
from coatseg.models.heads.query.surplus import FEWER_TOKENS, Surplus
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, PositiveShare, Rate
from coatseg.structures import InstanceTarget, Level, Size
from coatseg.system.extras import needs

COARSEST = 32
"""The coarsest level of a backbone that it takes; one of twice that stride is made of it."""
SLOWER = ("sampling_offsets", "reference_points")
"""What the authors train at a tenth of the rate: the layers that say where to look."""


@dataclass(frozen=True, kw_only=True)
class DeformableDETROptions(TransformerOptions):
    """Those of the transformer and of what goes on around it.

    `finest` is the stride of the finest level that it looks at; small objects want 4, which costs four times as many
    tokens. With `auxiliary` every decoder layer has losses, not the last alone. Of all queries and classes the best
    `detections` are kept, those scored above `score_threshold`. The layers that say where to look are trained at
    `offset_rate` of the learning rate.
    """

    finest: Literal[4, 8, 16, 32] = 8
    auxiliary: bool = True
    detections: PositiveInt = 100
    score_threshold: Rate = 0.0
    offset_rate: PositiveShare = 0.1


class DeformableDETR(ObjectHead):
    """A transformer on a backbone's levels up to stride 32, with the losses and the decoding of queries."""

    gives = frozenset({"boxes"})
    divisor = DIVISOR
    not_exported = "its graph holds where tokens lie in images of one size, and exported files are to take any size"

    def __init__(self, levels: Sequence[Level], classes: int, options: DeformableDETROptions) -> None:
        super().__init__()
        self.places = level_places(levels, "deformable_detr", options.finest)
        self.strides = (*(levels[place].stride for place in self.places), 2 * COARSEST)
        self.levels_used = self.places[-1] + 1
        self.options = options
        self.surplus = Surplus(options.queries, FEWER_TOKENS)
        plain = {field.name: getattr(options, field.name) for field in fields(TransformerOptions)}
        self.transformer = DeformableTransformer(
            [levels[place].channels for place in self.places], classes, TransformerOptions(**plain)
        )

    def forward(
        self,
        images: Tensor,
        pyramid: Sequence[Tensor],
        sizes: Sequence[Size],
        targets: Sequence[InstanceTarget] | None = None,
    ) -> dict[str, Tensor] | list[Detections]:
        """Return the losses against `targets`, or without them the detections."""
        height, width = images.shape[-2:]
        canvases = self.canvases((height, width), sizes)
        outputs: Outputs = self.transformer(self._used(pyramid), canvases)
        if targets is None:
            return self.detect(outputs, canvases, sizes)
        return self.losses(outputs, canvases, targets)

    def canvases(self, batch: Size, sizes: Sequence[Size]) -> Canvases:
        """Return the levels of a batch of images of one size, which are of `sizes` without padding."""
        return Canvases.of(batch, sizes, self.strides, self.divisor)

    def losses(self, outputs: Outputs, canvases: Canvases, targets: Sequence[InstanceTarget]) -> dict[str, Tensor]:
        """Return the losses by name, those of a decoder layer but the last with its number, of the first stage so."""
        scale = canvases.canvas(outputs.boxes.device)
        truths = [_truth(target, canvas) for target, canvas in zip(targets, scale, strict=True)]
        self.surplus.say((len(truth.labels) for truth in truths), outputs.logits.shape[2])
        last = len(outputs.logits) - 1
        numbers = range(last + 1) if self.options.auxiliary else [last]
        named = {"" if n == last else f"_{n}": Guesses(outputs.logits[n], outputs.boxes[n]) for n in numbers}
        losses = box_losses(named, truths)
        if outputs.first is not None:
            # As the authors do: the tokens learn where an object of any class is, as if all were of the first.
            any_class = [Truth(torch.zeros_like(truth.labels), truth.boxes) for truth in truths]
            losses |= box_losses({"_proposals": Guesses(*outputs.first)}, any_class)
        return losses

    def detect(self, outputs: Outputs, canvases: Canvases, sizes: Sequence[Size]) -> list[Detections]:
        """Return the best (query, class) pairs of each image, with boxes in pixels within it."""
        scores = outputs.logits[-1].sigmoid().flatten(1)
        best, chosen = scores.topk(min(self.options.detections, scores.shape[1]), dim=1)
        classes = outputs.logits.shape[-1]
        boxes = box_convert(outputs.boxes[-1] * canvases.canvas(scores.device)[:, None], "cxcywh", "xyxy")
        found = []
        for rows, pairs, score, size in zip(boxes, chosen, best, sizes, strict=True):
            kept = score > self.options.score_threshold
            queries, labels = pairs[kept] // classes, pairs[kept] % classes
            found.append(Detections(clip_boxes_to_image(rows[queries], size), labels, score[kept]))
        return found

    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the encoder's maps."""
        used = self._used(pyramid)
        height, width = (side * self.strides[0] for side in used[0].shape[-2:])
        canvases = self.canvases((height, width), [(height, width)] * len(used[0]))
        tokens, _ = self.transformer.encode(used, canvases)
        parts = torch.split(tokens.transpose(1, 2), canvases.tokens, dim=-1)
        return [part.reshape(*part.shape[:2], *shape) for part, shape in zip(parts, canvases.shapes, strict=True)]

    def rate_shares(self) -> Mapping[str, float]:
        """Return the shares of the learning rate of the layers that say where to look."""
        slower = (name for name, _ in self.named_parameters() if any(part in name for part in SLOWER))
        return dict.fromkeys(slower, self.options.offset_rate)

    def _used(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        return [pyramid[place] for place in self.places]


def level_places(levels: Sequence[Level], head: str, finest: int) -> list[int]:
    """Return the places of the levels from stride `finest` to 32, each of twice the stride of the one before.

    Raises:
        ConfigError: there is not one of each.
    """
    strides = [level.stride for level in levels]
    wanted = [finest * 2**step for step in range((COARSEST // finest).bit_length())]
    if any(stride not in strides for stride in wanted):
        raise ConfigError(
            f"head={head} needs feature maps from stride {finest} on, up to {COARSEST}, each of twice the stride of "
            f"the one before; this backbone has {tuple(strides)}.",
            "Choose a backbone with the strides 4, 8, 16 and 32, such as any CoaT.",
        )
    return [strides.index(stride) for stride in wanted]


def _truth(target: InstanceTarget, canvas: Tensor) -> Truth:
    objects = without_crowds(target)
    return Truth(objects.labels, (box_convert(objects.boxes.to(canvas), "xyxy", "cxcywh") / canvas))


@register("head", "deformable_detr")
def deformable_detr(
    levels: Sequence[Level], classes: int, options: DeformableDETROptions = DeformableDETROptions()
) -> DeformableDETR:
    """Build Deformable DETR.

    Raises:
        ConfigError: transformers is not installed, the backbone lacks one of the strides, or options do
            not go together.
    """
    needs("head=deformable_detr", "query", "transformers")
    if options.two_stage and not options.refine:
        raise ConfigError(
            "head.two_stage=true starts boxes that layers refine.", "Set head.refine=true, or head.two_stage=false."
        )
    if options.width % (4 * options.heads):
        raise ConfigError(
            f"head.width={options.width} has to be a multiple of 4 * head.heads={4 * options.heads}.",
            "Choose others, such as head.width=128 and head.heads=8.",
        )
    return DeformableDETR(levels, classes, options)
