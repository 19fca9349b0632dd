"""Contrastive denoising: queries made of objects with noise, which learn to say the object, or that it is none.

Zhang et al., "DINO", 2023, section 3.3: each group has for every object a query moved by less than half its size, which
is to find it, and one moved by more, which is to find nothing. No matching is needed, and queries that are matched see
none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import RTDetrV2Config
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import get_contrastive_denoising_training_group

from coatseg.models.heads.query.box_losses import Pairs, Truth


@dataclass(frozen=True)
class Noisy:
    """D queries of each image, in `groups` groups that do not see each other.

    content (B, D, width); references (B, D, 4), logits of boxes; between (D, D) float32, 0 where one query sees
    another and else minus infinity; positive, for each image, the queries that are to find an object; truths, the
    objects of each image that they are made of.
    """

    content: Tensor
    references: Tensor
    between: Tensor
    groups: int
    positive: Sequence[Tensor]
    truths: Sequence[Truth]

    def mask(self, queries: int) -> Tensor:
        """Return what is added to the attention (D + Q, D + Q), with as many queries that do not see these."""
        seen = functional.pad(self.between, (0, queries, 0, 0))
        unseen = functional.pad(torch.full_like(self.between[:1], -torch.inf), (0, queries))
        return torch.cat([seen, unseen.expand(queries, -1)])

    def pairs(self) -> Pairs:
        """Return which query learns which object, in each image and the same in all layers."""
        device = self.content.device
        objects = [torch.arange(len(truth.labels), device=device).repeat(self.groups) for truth in self.truths]
        return list(zip(self.positive, objects, strict=True))


class Denoising(nn.Module):
    """Draws the noisy queries of a batch by torch's global generator, transformers' way."""

    def __init__(self, classes: int, config: RTDetrV2Config) -> None:
        super().__init__()
        self.classes = classes
        self.count, self.label_noise, self.box_noise = (
            config.num_denoising,
            config.label_noise_ratio,
            config.box_noise_scale,
        )
        self.content = nn.Embedding(classes + 1, config.d_model, padding_idx=classes)

    def forward(self, truths: Sequence[Truth]) -> Noisy | None:
        """Return the noisy queries of images, or None where there is no object.

        There are at most `count` objects of each sign in all groups together; of an image with more, some are drawn.
        """
        truths = [_some(truth, self.count) for truth in truths]
        content, references, mask, facts = get_contrastive_denoising_training_group(
            [{"class_labels": truth.labels, "boxes": truth.boxes} for truth in truths],
            num_classes=self.classes,
            num_queries=0,
            class_embed=self.content,
            num_denoising_queries=self.count,
            label_noise_ratio=self.label_noise,
            box_noise_scale=self.box_noise,
        )
        if facts is None:
            return None
        return Noisy(content, references, mask, facts["dn_num_group"], facts["dn_positive_idx"], truths)


def _some(truth: Truth, count: int) -> Truth:
    if len(truth.labels) <= count:
        return truth
    kept = torch.randperm(len(truth.labels), device=truth.labels.device)[:count]
    return replace(truth, boxes=truth.boxes[kept], labels=truth.labels[kept])
