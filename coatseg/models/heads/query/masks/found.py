"""What is made of the masks of one image: objects, segments, or a score of each class at every pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.errors import ConfigError
from coatseg.models.heads.base import Objects, Segments
from coatseg.registry.options import OptionGroup, PositiveInt, Rate
from coatseg.structures import LOGITS, Size

PIXELS_AT_ONCE = 2**26
"""How many pixels of masks are resampled at once, which bounds the memory."""

LEAST = 1e-6
"""The least score whose logarithm is taken."""


@dataclass(frozen=True, kw_only=True)
class FindingOptions(OptionGroup):
    """The options of what is made of masks.

    Panoptic segments: a query is kept if the probability of its class exceeds `score_threshold`, and its segment if it
    wins at least the share `overlap_threshold` of its own mask (MaskFormer, Cheng et al., 2021, section 3.4; values of
    Mask2Former). Instances: the `detections` of highest score are kept. Logits need none of them.
    """

    score_threshold: Rate = 0.8
    overlap_threshold: Rate = 0.8
    detections: PositiveInt = 100

    def check(self, output: str) -> None:
        """Raise ConfigError if an option was changed that the `output` of the head has no use for."""
        for field in fields(self):
            if field.name not in OPTIONS_OF[output] and getattr(self, field.name) != field.default:
                raise ConfigError(
                    f"head.{field.name} has no use where the head gives {output}.", f"Leave head.{field.name} out."
                )


OPTIONS_OF = {LOGITS: (), "masks": ("detections",), "segments": ("score_threshold", "overlap_threshold")}
"""The options that each output of the heads is made by."""


@dataclass(frozen=True)
class FoundMasks:
    """The queries of one image: classes (Q, K + 1) logits, of no object at the end, and masks (Q, h, w) logits.

    The masks cover the image padded to `padded` (height, width). `things` are the classes of things among the K.
    """

    classes: Tensor
    masks: Tensor
    padded: Size
    things: tuple[int, ...]
    options: FindingOptions

    def objects(self, size: Size, original: Size) -> Objects:
        """Return the best pairs of query and class: one mask may be found as several classes.

        A score is the probability of the class times the mean probability of the mask where it lies (Mask2Former,
        section 4 on instance segmentation); a mask is where its logit is positive at the original size. Masks without
        a pixel are left out. Boxes are the tight ones of the masks.
        """
        chances = self.classes.softmax(-1)[:, :-1]
        best = chances.flatten().topk(min(self.options.detections, chances.numel()))
        queries = torch.div(best.indices, chances.shape[1], rounding_mode="floor")
        labels = best.indices % chances.shape[1]
        used, place = torch.unique(queries, return_inverse=True)
        parts = [_mask_facts(logits) for logits in self._resized(used, size, original)]
        masks, sureness, boxes = (torch.cat(column) for column in zip(*parts, strict=True))
        scores = best.values * sureness[place]
        order = scores.argsort(descending=True, stable=True)
        order = order[(sureness > 0)[place[order]]]
        place = place[order]
        return Objects(boxes[place], labels[order], scores[order], masks[place.to(masks.device)])

    def segments(self, size: Size, original: Size) -> Segments:
        """Return the segments by the merge of MaskFormer (section 3.4).

        Of the queries kept, each pixel goes to that of the highest product of class and mask probability, if this mask
        is at least 0.5 there. Stuff of one class is one segment; its score is the mean of its parts by their pixels.
        """
        chances, labels = self.classes.softmax(-1)[:, :-1].max(-1)
        kept = torch.nonzero((chances > self.options.score_threshold) & self._is_something())[:, 0]
        chances, labels = chances[kept], labels[kept]
        winner, sureness, own = self._winners(kept, chances, size, original)
        won = torch.where(sureness >= 0.5, winner, len(kept))
        areas = torch.bincount(won.flatten(), minlength=len(kept) + 1)[:-1]
        stays = (areas > 0) & (areas >= self.options.overlap_threshold * own)
        return _numbered(won, areas, stays, labels, chances, self.things)

    def _is_something(self) -> Tensor:
        """Return the queries (Q,) whose likeliest class is not that of no object."""
        return self.classes.argmax(-1) < self.classes.shape[1] - 1

    def _winners(self, kept: Tensor, chances: Tensor, size: Size, original: Size) -> tuple[Tensor, Tensor, Tensor]:
        """Return the place (H, W) of the best of the queries `kept` (N,) at each pixel, and its mask's probability.

        The third are the areas (N,) of their masks.
        """
        device = self.masks.device
        best = torch.full(original, -1.0, device=device)
        winner = torch.full(original, len(kept), dtype=torch.int64, device=device)
        sureness = torch.zeros(original, device=device)
        own: list[Tensor] = [torch.zeros(0, dtype=torch.int64, device=device)]
        first = 0
        for logits in self._resized(kept, size, original):
            masks = logits.sigmoid()
            own.append((masks >= 0.5).sum((1, 2)))
            scores, places = (masks * chances[first : first + len(masks), None, None]).max(0)
            better = scores > best
            best = torch.where(better, scores, best)
            winner = torch.where(better, places + first, winner)
            sureness = torch.where(better, masks.gather(0, places[None])[0], sureness)
            first += len(masks)
        return winner, sureness, torch.cat(own)

    def _resized(self, queries: Tensor, size: Size, original: Size) -> Iterator[Tensor]:
        """Yield the logits of some masks at the original size, some at once."""
        at_once = max(1, PIXELS_AT_ONCE // max(original[0] * original[1], self.padded[0] * self.padded[1]))
        for first in range(0, len(queries), at_once):
            yield at_original(self.masks[queries[first : first + at_once]], self.padded, size, original)


def at_original(logits: Tensor, padded: Size, size: Size, original: Size) -> Tensor:
    """Return mask logits (N, h, w) of an image padded to `padded` at the original size (N, H, W).

    They are resized to the padded image, which they cover, cut to the image, and resized again, as the papers do: a map
    of logits has no pixel edge where the image ends.
    """
    whole = functional.interpolate(logits[None], padded, mode="bilinear", align_corners=False)
    image = whole[..., : size[0], : size[1]]
    if size == original:
        return image[0]
    return functional.interpolate(image, original, mode="bilinear", align_corners=False)[0]


def class_logits(classes: Tensor, masks: Tensor, padded: Size) -> Tensor:
    """Return logits (B, K, H, W) whose softmax are the semantic scores of each class, normalised at every pixel.

    A score is the sum over queries of class times mask probability (MaskFormer, section 3.4), of classes (B, Q, K + 1)
    and masks (B, Q, h, w) logits; the masks are resized to the padded image before.
    """
    whole = functional.interpolate(masks, padded, mode="bilinear", align_corners=False).sigmoid()
    scores = torch.einsum("bqk,bqhw->bkhw", classes.softmax(-1)[..., :-1], whole)
    return functional.log_softmax(scores.clamp(min=LEAST).log(), dim=1)


def _mask_facts(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return masks (N, H, W) bool on the CPU, their mean probability where they lie, 0 if nowhere, and their boxes."""
    masks = logits > 0
    sureness = (logits.sigmoid() * masks).sum((1, 2)) / masks.sum((1, 2)).clamp(min=1)
    return masks.cpu(), sureness, tight_boxes(masks)


def tight_boxes(masks: Tensor) -> Tensor:
    """Return the boxes (N, 4) float32 of masks (N, H, W) bool, zeros for those without a pixel."""
    sides = []
    for along in (1, 2):
        there = masks.any(along)
        length = there.shape[1]
        first = there.int().argmax(1)
        end = length - there.flip(1).int().argmax(1)
        sides.append((first, torch.where(there.any(1), end, first)))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1).float()


def _numbered(
    won: Tensor, areas: Tensor, stays: Tensor, labels: Tensor, chances: Tensor, things: tuple[int, ...]
) -> Segments:
    """Return the segments of the places (H, W) that won each pixel, of which some stay, stuff of one class as one."""
    ids = torch.zeros(len(labels) + 1, dtype=torch.int32)
    found: list[tuple[int, float, int]] = []
    of_stuff: dict[int, int] = {}
    rows = zip(areas.tolist(), stays.tolist(), labels.tolist(), chances.tolist(), strict=True)
    for place, (area, stay, label, chance) in enumerate(rows):
        if not stay:
            continue
        number = of_stuff.get(label, len(found))
        if number == len(found):
            found.append((label, 0.0, 0))
        if label not in things:
            of_stuff[label] = number
        _, sum_of_scores, pixels = found[number]
        found[number] = (label, sum_of_scores + chance * area, pixels + area)
        ids[place] = number + 1
    return Segments(
        ids.to(won.device)[won],
        torch.tensor([label for label, _, _ in found], dtype=torch.int64),
        torch.tensor([total / pixels for _, total, pixels in found], dtype=torch.float32),
    )
