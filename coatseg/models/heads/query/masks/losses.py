"""The losses of heads that classify masks: one query for each region, found by matching, and no object for the rest.

The losses are those of Mask2Former (Cheng et al., 2022, sections 3.2 and 3.3) for every layer's prediction: cross
entropy of the class, and of the mask at points binary cross entropy, or the focal loss, and Dice. A region is matched
to the query that has the least sum of the same costs. Everything is computed in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.detection.base import share
from coatseg.models.heads.query.masks.points import Ground, Points, covered, points_for, sampled
from coatseg.models.heads.query.masks.regions import Regions
from coatseg.models.heads.query.matching import match
from coatseg.registry.options import NonNegativeFloat, OptionGroup, PositiveFloat, PositiveInt, Share
from coatseg.structures import Size

OVERSAMPLING = 3.0
"""How many candidates there are for a point (PointRend, section 4.1)."""


class Predictions(NamedTuple):
    """What a decoder predicts in L layers for Q queries, the last layer's prediction at the end.

    classes (L, B, Q, classes + 1) logits, of no object at the end; embeddings (L, B, Q, C), whose products with pixels
    (B, C, h, w) are the logits of the masks.
    """

    classes: Tensor
    embeddings: Tensor
    pixels: Tensor


@dataclass(frozen=True, kw_only=True)
class LossOptions(OptionGroup):
    """The options of the losses; the weights are those of the matching too.

    `no_object_weight` is the weight of queries that match no region in the cross entropy. A mask is compared with the
    truth at `points` points, or as many as its map has cells, if these are fewer; the share `importance` of them lies
    where the mask is most uncertain. Defaults are Mask2Former's (Cheng et al., 2022, section 4.1).
    """

    class_weight: NonNegativeFloat = 2.0
    mask_weight: NonNegativeFloat = 5.0
    dice_weight: NonNegativeFloat = 5.0
    no_object_weight: PositiveFloat = 0.1
    points: PositiveInt = 12544
    importance: Share = 0.75


class PixelCost(NamedTuple):
    """A loss of a mask's logits at each point, as a function, and what it is where the point is in the region or not.

    `loss` maps logits and truth of one shape to the loss of each point; `apart` maps logits to the loss of each point
    if it lies in the region, and if it does not.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    apart: Callable[[Tensor], tuple[Tensor, Tensor]]


class Matched(NamedTuple):
    """The matched pairs of one image in all layers, M of them: layer, query and region, (M,) int64 each."""

    layers: Tensor
    queries: Tensor
    regions: Tensor


class MaskLosses:
    """Losses of predictions against the regions of each image, by name."""

    def __init__(self, classes: int, options: LossOptions, pixel_cost: PixelCost) -> None:
        self.classes = classes
        self.options = options
        self.pixel_cost = pixel_cost
        self.surplus_said = False

    def __call__(self, predictions: Predictions, truth: Sequence[Regions], padded: Size) -> dict[str, Tensor]:
        """Return the losses of images padded to `padded` (height, width): classes, masks and dice of the last layer.

        Those of the layers before are called classes_0, masks_0, dice_0 and so on. They are normalised by the number of
        regions over all processes.
        """
        with torch.autocast(predictions.pixels.device.type, enabled=False):
            predictions = Predictions(*(tensor.float() for tensor in predictions))
            grounds = [Ground.of(regions, padded) for regions in truth]
            self._say_surplus(truth, predictions.classes.shape[2])
            matched = self._match(predictions, truth, grounds)
            masks, dice = self._mask_losses(predictions, truth, grounds, matched)
            losses = {
                "classes": self._class_loss(predictions.classes, truth, grounds, matched),
                "masks": masks,
                "dice": dice,
            }
            return named_by_layer(losses)

    def _say_surplus(self, truth: Sequence[Regions], queries: int) -> None:
        """Say, once, that an image has more regions than there are queries."""
        most = max(len(regions) for regions in truth)
        if most > queries and not self.surplus_said:
            self.surplus_said = True
            warnings.warn(
                f"An image has {most} objects or segments, and there are {queries} queries: each query learns one, and "
                "the rest is left out. Set head.queries higher.",
                stacklevel=2,
            )

    @torch.no_grad()
    def _match(self, predictions: Predictions, truth: Sequence[Regions], grounds: Sequence[Ground]) -> list[Matched]:
        """Match every layer's queries to the regions of each image: one transfer for all layers and images."""
        layers = len(predictions.classes)
        costs = [cost for index in range(len(truth)) for cost in self._costs(predictions, truth, grounds, index)]
        pairs = match(costs)
        device = predictions.pixels.device
        return [_together(pairs[index * layers : (index + 1) * layers], device) for index in range(len(truth))]

    def _costs(
        self, predictions: Predictions, truth: Sequence[Regions], grounds: Sequence[Ground], index: int
    ) -> Tensor:
        """Return the costs (L, Q, N) of matching the queries of one image to its regions, at points common to all."""
        regions, pixels = truth[index], predictions.pixels[index : index + 1]
        classes = -predictions.classes[:, index].softmax(-1)[..., regions.labels]
        costs = self.options.class_weight * classes
        if not len(regions):
            return costs
        points = grounds[index].draw((1, points_for(self.options.points, pixels[0, 0].numel())))
        inside = regions.masks.flatten(1)[:, points.pixels[0]].float()
        logits = predictions.embeddings[:, index] @ sampled(pixels, points.positions)[0]
        there, elsewhere = self.pixel_cost.apart(logits)
        masks = (there @ inside.T + elsewhere @ (1 - inside).T) / inside.shape[1]
        chances = logits.sigmoid()
        dice = dice_of(chances @ inside.T, chances.sum(-1)[..., None], inside.sum(-1))
        return costs + self.options.mask_weight * masks + self.options.dice_weight * dice

    def _class_loss(
        self, logits: Tensor, truth: Sequence[Regions], grounds: Sequence[Ground], matched: Sequence[Matched]
    ) -> Tensor:
        """Return the cross entropy (L,), a mean weighted by `no_object_weight` for queries without a region.

        Images of which nothing is known do not count.
        """
        labels = torch.full(logits.shape[:3], self.classes, dtype=torch.int64, device=logits.device)
        for index, (regions, pairs) in enumerate(zip(truth, matched, strict=True)):
            labels[pairs.layers, index, pairs.queries] = regions.labels[pairs.regions]
        weights = torch.ones(self.classes + 1, device=logits.device)
        weights[-1] = self.options.no_object_weight
        known = torch.tensor([float(len(ground.known) > 0) for ground in grounds], device=logits.device)
        each = functional.cross_entropy(logits.flatten(0, 2), labels.flatten(), reduction="none").view(labels.shape)
        of_query = weights[labels] * known[:, None]
        total = of_query[-1].sum()  # the same in every layer
        return self.options.class_weight * share(total) * (each * of_query).sum((1, 2)) / total.clamp(min=1e-6)

    def _mask_losses(
        self,
        predictions: Predictions,
        truth: Sequence[Regions],
        grounds: Sequence[Ground],
        matched: Sequence[Matched],
    ) -> tuple[Tensor, Tensor]:
        """Return the pixel loss and Dice (L,) of the matched masks: sums over masks by the number of regions."""
        layers = len(predictions.classes)
        nothing = 0.0 * (predictions.embeddings.sum() + predictions.pixels.sum())  # so that all has a gradient
        sums = [nothing.expand(layers), nothing.expand(layers)]
        for index, (regions, ground, pairs) in enumerate(zip(truth, grounds, matched, strict=True)):
            if len(pairs.layers):
                embeddings = predictions.embeddings[pairs.layers, index, pairs.queries]
                each = self._of_masks(embeddings, predictions.pixels[index], regions.masks, pairs.regions, ground)
                sums = [total.index_add(0, pairs.layers, part) for total, part in zip(sums, each, strict=True)]
        count = torch.tensor(float(sum(len(regions) for regions in truth)), device=nothing.device)
        scale = share(count) / count.clamp(min=1)
        return self.options.mask_weight * scale * sums[0], self.options.dice_weight * scale * sums[1]

    def _of_masks(
        self, embeddings: Tensor, pixels: Tensor, masks: Tensor, which: Tensor, ground: Ground
    ) -> tuple[Tensor, Tensor]:
        """Return the pixel loss and Dice (M,) of the masks of embeddings (M, C) against the regions `which`."""
        maps = torch.einsum("mc,chw->mhw", embeddings, pixels)
        count = points_for(self.options.points, pixels[0].numel())
        with torch.no_grad():
            points: Points = ground.draw_uncertain(maps, count, OVERSAMPLING, self.options.importance)
            inside = covered(masks, which, points.pixels)
        logits = sampled(maps[:, None], points.positions)[:, 0]
        chances = logits.sigmoid()
        dice = dice_of((chances * inside).sum(-1), chances.sum(-1), inside.sum(-1))
        return self.pixel_cost.loss(logits, inside).mean(-1), dice


def dice_of(both: Tensor, mask: Tensor, region: Tensor) -> Tensor:
    """Return the Dice loss of the sums over points of mask times region, of the mask and of the region.

    One is added above and below, as Mask2Former and MaskFormer do.
    """
    return 1 - (2 * both + 1) / (mask + region + 1)


def named_by_layer(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return losses (L,) as one by name and layer: the last layer's have the bare name, others that of their number."""
    last = len(next(iter(losses.values()))) - 1
    return {
        name if layer == last else f"{name}_{layer}": value
        for layer in (last, *range(last))
        for name, values in losses.items()
        for value in (values[layer],)
    }


def _together(pairs: Sequence[tuple[Tensor, Tensor]], device: torch.device) -> Matched:
    """Return the pairs of (queries, regions) of each layer as one."""
    counts = torch.tensor([len(found) for found, _ in pairs])
    queries, regions = (torch.cat(column) for column in zip(*pairs, strict=True))
    return Matched(*(column.to(device) for column in (torch.repeat_interleave(counts), queries, regions)))


def _entropies(logits: Tensor) -> tuple[Tensor, Tensor]:
    return functional.softplus(-logits), functional.softplus(logits)


CROSS_ENTROPY = PixelCost(
    lambda logits, truth: functional.binary_cross_entropy_with_logits(logits, truth, reduction="none"), _entropies
)

FOCAL_GAMMA, FOCAL_ALPHA = 2.0, 0.25


def _focal(logits: Tensor, truth: Tensor) -> Tensor:
    there, elsewhere = _focal_apart(logits)
    return there * truth + elsewhere * (1 - truth)


def _focal_apart(logits: Tensor) -> tuple[Tensor, Tensor]:
    chances, (there, elsewhere) = logits.sigmoid(), _entropies(logits)
    return (
        FOCAL_ALPHA * (1 - chances) ** FOCAL_GAMMA * there,
        (1 - FOCAL_ALPHA) * chances**FOCAL_GAMMA * elsewhere,
    )


FOCAL = PixelCost(_focal, _focal_apart)
"""The focal loss (Lin et al., 2017) with the gamma and alpha of MaskFormer (Cheng et al., 2021, section 4.1)."""
