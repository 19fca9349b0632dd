"""The losses of heads that classify masks: one query for each region, found by matching, and no object for the rest.

The losses are those of Mask2Former (Cheng et al., 2022, sections 3.2 and 3.3) for every layer's prediction: cross
entropy of the class, and of the mask at points binary cross entropy, or the focal loss, and Dice. A region is matched
to the query that has the least sum of the same costs. Everything is computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.detection.base import share
from coatseg.models.heads.query.masks.points import Sampling, draw, sampled
from coatseg.models.heads.query.masks.regions import Regions
from coatseg.models.heads.query.matching import match
from coatseg.models.heads.query.surplus import Surplus
from coatseg.registry.options import NonNegativeFloat, OptionGroup, PositiveFloat, PositiveInt, Share
from coatseg.structures import Size


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


class Compared(NamedTuple):
    """What masks of an image are compared by at K points.

    values (C, K) of its pixels; inside (N, K) float32, 1 where a point lies in a region.
    """

    values: Tensor
    inside: Tensor


Pairs = tuple[Tensor, Tensor]
"""The queries and the regions that are matched in one layer of one image, int64."""


class MaskLosses:
    """Losses of predictions against the regions of each image, by name."""

    def __init__(self, classes: int, options: LossOptions, pixel_cost: PixelCost) -> None:
        self.classes = classes
        self.options = options
        self.pixel_cost = pixel_cost
        self.surplus = Surplus(wanted=0)

    def __call__(self, predictions: Predictions, truth: Sequence[Regions], padded: Size) -> dict[str, Tensor]:
        """Return the losses of images padded to `padded` (height, width): classes, masks and dice of the last layer.

        Those of the layers before are called classes_0, masks_0, dice_0 and so on. They are normalised by the number of
        regions over all processes.
        """
        with torch.autocast(predictions.pixels.device.type, enabled=False):
            predictions = Predictions(*(tensor.float() for tensor in predictions))
            self.surplus.say((len(regions) for regions in truth), predictions.classes.shape[2])
            sampling = Sampling.of(self.options.points, self.options.importance, predictions.pixels[0, 0].numel())
            compared = [
                self._compared(pixels, regions, sampling.total, padded)
                for pixels, regions in zip(predictions.pixels, truth, strict=True)
            ]
            matched = self._match(predictions, truth, compared, sampling)
            masks, dice = self._mask_losses(predictions, truth, compared, matched, sampling)
            classes = self._class_losses(predictions.classes, truth, matched)
            return named_by_layer({"classes": classes, "masks": masks, "dice": dice})

    def _compared(self, pixels: Tensor, regions: Regions, count: int, padded: Size) -> Compared | None:
        """Draw the points of an image; None if it has no region."""
        if not len(regions):
            return None
        points = draw(regions, count, padded)
        return Compared(sampled(pixels, points.positions), regions.masks.flatten(1)[:, points.pixels].float())

    @torch.no_grad()
    def _match(
        self,
        predictions: Predictions,
        truth: Sequence[Regions],
        compared: Sequence[Compared | None],
        sampling: Sampling,
    ) -> list[list[Pairs]]:
        """Match every layer's queries to the regions of each image: one transfer for all layers and images."""
        layers, device = len(predictions.classes), predictions.pixels.device
        costs = []
        for index, (regions, points) in enumerate(zip(truth, compared, strict=True)):
            chances = predictions.classes[:, index].softmax(-1)[..., regions.labels]
            for layer in range(layers):
                cost = -self.options.class_weight * chances[layer]
                if points is not None:
                    few = Compared(*(tensor[:, : sampling.count] for tensor in points))
                    cost = cost + self._mask_costs(predictions.embeddings[layer, index] @ few.values, few.inside)
                costs.append(cost)
        pairs = [(queries.to(device), regions.to(device)) for queries, regions in match(costs)]
        return [pairs[index * layers : (index + 1) * layers] for index in range(len(truth))]

    def _mask_costs(self, logits: Tensor, inside: Tensor) -> Tensor:
        """Return the weighted costs (Q, N) of masks with logits (Q, P) for regions that the points are `inside` of."""
        there, elsewhere = self.pixel_cost.apart(logits)
        masks = (there @ inside.T + elsewhere @ (1 - inside).T) / inside.shape[1]
        chances = logits.sigmoid()
        dice = dice_of(chances @ inside.T, chances.sum(-1)[:, None], inside.sum(-1))
        return self.options.mask_weight * masks + self.options.dice_weight * dice

    def _class_losses(self, logits: Tensor, truth: Sequence[Regions], matched: Sequence[Sequence[Pairs]]) -> Tensor:
        """Return the cross entropy (L,), a mean weighted by `no_object_weight` for queries without a region.

        Images of which nothing is known do not count.
        """
        labels = torch.full(logits.shape[:3], self.classes, dtype=torch.int64, device=logits.device)
        for index, (regions, of_layers) in enumerate(zip(truth, matched, strict=True)):
            for layer, (queries, which) in enumerate(of_layers):
                labels[layer, index, queries] = regions.labels[which]
        weights = torch.ones(self.classes + 1, device=logits.device)
        weights[-1] = self.options.no_object_weight
        known = torch.stack([~regions.ignored.all() for regions in truth]).float()
        each = functional.cross_entropy(logits.flatten(0, 2), labels.flatten(), reduction="none").view(labels.shape)
        of_query = weights[labels] * known[:, None]
        total = of_query[-1].sum()  # the same in every layer
        return self.options.class_weight * share(total) * (each * of_query).sum((1, 2)) / total.clamp(min=1e-6)

    def _mask_losses(
        self,
        predictions: Predictions,
        truth: Sequence[Regions],
        compared: Sequence[Compared | None],
        matched: Sequence[Sequence[Pairs]],
        sampling: Sampling,
    ) -> tuple[Tensor, Tensor]:
        """Return the pixel loss and Dice (L,) of the matched masks: sums over masks by the number of regions."""
        layers = len(predictions.classes)
        nothing = 0.0 * (predictions.embeddings.sum() + predictions.pixels.sum())  # so that all has a gradient
        sums = [nothing.expand(layers), nothing.expand(layers)]
        for index, (points, of_layers) in enumerate(zip(compared, matched, strict=True)):
            if points is None:
                continue
            queries, which = (torch.cat(column) for column in zip(*of_layers, strict=True))
            layer = torch.arange(layers, device=queries.device).repeat_interleave(len(queries) // layers)
            logits = predictions.embeddings[layer, index, queries] @ points.values
            parts = self._of_masks(logits, points.inside[which], sampling)
            sums = [total.index_add(0, layer, part) for total, part in zip(sums, parts, strict=True)]
        count = torch.tensor(float(sum(len(regions) for regions in truth)), device=nothing.device)
        scale = share(count) / count.clamp(min=1)
        return self.options.mask_weight * scale * sums[0], self.options.dice_weight * scale * sums[1]

    def _of_masks(self, logits: Tensor, inside: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
        """Return the pixel loss and Dice (M,) of logits (M, K) at points that are `inside` (M, K) a region or not."""
        chosen = sampling.chosen(logits)
        if chosen is not None:
            logits, inside = logits.gather(1, chosen), inside.gather(1, chosen)
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
