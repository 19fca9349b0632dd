"""From Panoptic-DeepLab's maps to segments: pixels of things are grouped by the centre that they point to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.base import Segments
from coatseg.models.heads.panoptic.maps import PanopticMaps
from coatseg.registry.options import OptionGroup, PositiveInt, Rate
from coatseg.structures import Size

VALUES_AT_ONCE = 2**25
"""How many values of logits, or of distances to centres, are held at once, which bounds the memory."""

EXACTLY = "donot_use_mm_for_euclid_dist"
"""How cdist measures: by products of matrices it would be off by half a pixel at 2000."""


@dataclass(frozen=True, kw_only=True)
class Merging(OptionGroup):
    """How maps become segments, by default as the paper does for Cityscapes (Cheng et al., 2020, section 3.3).

    A centre is what is above `threshold` and the greatest within a square of `kernel` pixels, one more if that is even,
    of the image that the model sees; the surest `top_k` are kept. A kind of stuff that covers less than `stuff_share`
    of an image is left out: the paper's 2048 pixels of 1025x2049.
    """

    threshold: Rate = 0.1
    kernel: PositiveInt = 7
    top_k: PositiveInt = 200
    stuff_share: Rate = 0.001


@dataclass(frozen=True)
class MergedMaps:
    """The maps of one image, each (., H, W), which are merged to segments at any size.

    `is_thing` (classes,) bool says which classes are things.
    """

    maps: PanopticMaps
    is_thing: Tensor
    merging: Merging

    def segments(self, size: Size, original: Size) -> Segments:
        """Return the segments at the `original` size (height, width) of an image that the model saw at `size`.

        Maps are resized before anything is decided from them. A pixel whose class is a thing goes to the centre that is
        nearest to where it points, and a group is of the class that most of its pixels are of; without any centre it
        belongs to nothing. A thing's score is its centre's heat times the mean probability of its pixels' classes, that
        of stuff the latter alone.
        """
        height, width = size
        cut = PanopticMaps(*(each[:, :height, :width] for each in self.maps))
        centres, heat = find_centres(cut.centres[0], self.merging)
        labels, surest, groups = self._decide(cut, centres, original)
        return self._merge(labels, surest, groups, heat)

    def _decide(self, maps: PanopticMaps, centres: Tensor, original: Size) -> tuple[Tensor, Tensor, Tensor]:
        """Return each pixel's class, the probability of it, and the place of its centre or -1, (H, W), on the CPU."""
        decided = []
        at_once = max(1, VALUES_AT_ONCE // (original[1] * max(len(maps.classes), len(centres))))
        for top, bottom in _strips(original[0], at_once):
            logits, offsets = (_rows(each, top, bottom, original) for each in (maps.classes, maps.offsets))
            best, labels = logits.max(0)
            surest = (best - logits.logsumexp(0)).exp()
            rows, columns = _positions(top, bottom, original, maps.classes)
            groups = torch.full_like(labels, -1)
            on_things = self.is_thing[labels]
            if len(centres):
                ends = torch.stack([rows[:, None] + offsets[0], columns + offsets[1]], dim=-1)[on_things]
                groups[on_things] = torch.cdist(ends, centres, compute_mode=EXACTLY).argmin(1)
            decided.append((labels.cpu(), surest.cpu(), groups.cpu()))
        labels, surest, groups = (torch.cat(parts) for parts in zip(*decided, strict=True))
        return labels, surest, groups

    def _merge(self, labels: Tensor, surest: Tensor, groups: Tensor, heat: Tensor) -> Segments:
        """Return groups and stuff as segments, things first, the surest centre first."""
        classes, count = len(self.is_thing), len(heat)
        on_things, in_groups = self.is_thing.cpu()[labels], groups >= 0
        votes = torch.bincount(groups[in_groups] * classes + labels[in_groups], minlength=count * classes)
        votes = votes.view(count, classes)
        # Behind the groups there is a place for each class of stuff, and one for nothing.
        places = torch.where(in_groups, groups, torch.where(on_things, count + classes, count + labels))
        pixels = torch.bincount(places.flatten(), minlength=count + classes + 1)
        probability = torch.bincount(places.flatten(), surest.flatten().double(), len(pixels))
        least = self.merging.stuff_share * labels.numel()
        kept = pixels > 0
        kept[count:] &= pixels[count:] >= least
        kept[-1] = False
        numbers = torch.where(kept, kept.cumsum(0), 0)
        scores = probability / pixels.clamp(min=1)
        scores[:count] *= heat.cpu().double()
        every = torch.cat([votes.argmax(1), torch.arange(classes + 1)])
        return Segments(numbers[places].to(torch.int32), every[kept], scores[kept].float())


def find_centres(heat: Tensor, merging: Merging) -> tuple[Tensor, Tensor]:
    """Return the centres (N, 2), row and column, of a heat map (H, W), and their heat (N,), the surest first.

    Of neighbours that are equally warm the last is one, so that a flat top is no row of centres.
    """
    kernel = merging.kernel
    peaks = (heat == _greatest_around(heat, kernel)) & (heat > merging.threshold)
    order = peaks.flatten().cumsum(0).view_as(heat).to(heat) * peaks
    peaks &= order == _greatest_around(order, kernel)
    found = peaks.nonzero()
    warmth, best = heat[peaks].sort(descending=True, stable=True)
    best = best[: merging.top_k]
    return found[best].to(heat), warmth[: merging.top_k].clamp(max=1)


def _greatest_around(values: Tensor, kernel: int) -> Tensor:
    """Return for every pixel of (H, W) the greatest value of the square around it; its side is odd."""
    return functional.max_pool2d(values[None], 2 * (kernel // 2) + 1, stride=1, padding=kernel // 2)[0]


def _strips(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each strip and the one after its last."""
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _positions(top: int, bottom: int, size: Size, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the rows from `top` to `bottom` of a picture of `size` lie in maps, and where its columns do."""
    rows = torch.arange(top, bottom, device=maps.device, dtype=maps.dtype)
    columns = torch.arange(size[1], device=maps.device, dtype=maps.dtype)
    down, across = maps.shape[-2] / size[0], maps.shape[-1] / size[1]
    return (rows + 0.5) * down - 0.5, (columns + 0.5) * across - 0.5


def _rows(maps: Tensor, top: int, bottom: int, size: Size) -> Tensor:
    """Return the rows from `top` to `bottom` of maps (C, h, w) resized bilinearly to `size`."""
    if maps.shape[-2:] == size:
        return maps[:, top:bottom]
    last = maps.shape[-2] - 1
    places = _positions(top, bottom, size, maps)[0].clamp(0, last)
    above = places.floor().long()
    share = (places - above)[:, None]
    mixed = torch.lerp(maps[:, above], maps[:, (above + 1).clamp(max=last)], share)
    shape = [bottom - top, size[1]]
    return functional.interpolate(mixed[None], shape, mode="bilinear", align_corners=False)[0]
