"""The losses of Panoptic-DeepLab: of the classes, the centres and the ways to them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.detection.base import share
from coatseg.models.heads.panoptic.maps import PanopticMaps
from coatseg.models.heads.panoptic.truth import UNKNOWN, TruthMaps
from coatseg.registry.options import NonNegativeFloat, OptionGroup, PositiveFloat, PositiveInt, PositiveShare


@dataclass(frozen=True, kw_only=True)
class Learning(OptionGroup):
    """What is learnt, by default as the paper says for Cityscapes (Cheng et al., 2020, sections 3.2 and 4.1).

    `sigma` is that of the Gaussians around centres, in pixels of the images that the model sees, as all lengths here.
    The loss of classes is the mean over the `hardest` share of an image's pixels, where those of things under
    `small` x `small` pixels weigh `small_weight` times as much (DeeperLab; Yang et al., 2019, section 3.4).
    `centres_weight` and `offsets_weight` are the factors of the other two losses.
    """

    sigma: PositiveFloat = 8.0
    hardest: PositiveShare = 0.2
    small: PositiveInt = 64
    small_weight: NonNegativeFloat = 3.0
    centres_weight: NonNegativeFloat = 200.0
    offsets_weight: NonNegativeFloat = 0.01


def panoptic_losses(maps: PanopticMaps, truth: TruthMaps, learning: Learning) -> dict[str, Tensor]:
    """Return the losses by name, each a mean over all processes; pixels without truth count in none of them."""
    known, on_things = truth.classes != UNKNOWN, truth.areas > 0
    heat = (maps.centres[:, 0] - truth.heat).square()
    ways = (maps.offsets - truth.offsets).abs().sum(1)
    return {
        "classes": _classes_loss(maps.classes, truth, learning),
        "centres": learning.centres_weight * _mean(heat, known),
        "offsets": learning.offsets_weight * _mean(ways, on_things),
    }


def _classes_loss(logits: Tensor, truth: TruthMaps, learning: Learning) -> Tensor:
    """Return the mean cross-entropy of the hardest pixels of each image, a share of those with truth."""
    entropies = functional.cross_entropy(logits, truth.classes, ignore_index=UNKNOWN, reduction="none")
    small = (truth.areas > 0) & (truth.areas < learning.small**2)
    weighted = torch.where(small, learning.small_weight, 1.0) * entropies
    counts = (learning.hardest * (truth.classes != UNKNOWN).flatten(1).sum(1)).ceil().long()
    rows = zip(weighted.flatten(1), counts.tolist(), strict=True)
    total = torch.stack([row.topk(count, sorted=False).values.sum() for row, count in rows]).sum()
    return total * share(counts.sum()) / counts.sum().clamp(min=1)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """Return the mean of the values (B, H, W) at some pixels, over all processes."""
    count = where.sum()
    return (values * where).sum() * share(count) / count.clamp(min=1)
