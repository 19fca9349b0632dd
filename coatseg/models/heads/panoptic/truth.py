"""What Panoptic-DeepLab learns of a panoptic truth: classes, a heat map of centres, and the way to one's centre."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.structures import PanopticTarget, Size

UNKNOWN = -1
"""The class of pixels that nothing is learnt from: void, crowds and padding."""

VALUES_AT_ONCE = 2**26
"""How many values of the things' Gaussians are held at once, which bounds the memory."""


class TruthMaps(NamedTuple):
    """The truth of one image, or of a batch under one more axis.

    classes (H, W) int64, UNKNOWN where there is nothing to learn; areas (H, W) int64, of the thing that a pixel belongs
    to, 0 where it is none; heat (H, W) float32, 1 at the centre of a thing; offsets (2, H, W) float32, in pixels down
    and to the right from a thing's pixel to its centre, 0 elsewhere.
    """

    classes: Tensor
    areas: Tensor
    heat: Tensor
    offsets: Tensor


def truth_maps(target: PanopticTarget, is_thing: Tensor, sigma: float) -> TruthMaps:
    """Return the maps of one image; `is_thing` (classes,) bool says which classes are things.

    The centre of a thing is the mean of its pixels, and the heat there a Gaussian of `sigma` pixels around the nearest
    pixel, of several the largest (Cheng et al., 2020, section 3.2).
    """
    places = segment_of(target)
    labels = torch.cat([target.labels.masked_fill(target.crowd, UNKNOWN), target.labels.new_tensor([UNKNOWN])])
    things = (labels >= 0) & is_thing[labels.clamp(min=0)]
    areas, centres = _areas_and_centres(places, len(labels))
    there = things & (areas > 0)
    size = (places.shape[0], places.shape[1])
    on_things = there[places]
    ways = centres[places].permute(2, 0, 1) - torch.stack(_grid(size, places.device))
    return TruthMaps(
        labels[places],
        torch.where(on_things, areas[places], 0),
        _heat(centres[there].round(), size, sigma),
        torch.where(on_things, ways, 0.0),
    )


def segment_of(target: PanopticTarget) -> Tensor:
    """Return for every pixel the place (H, W) int64 of its segment in the list, or the number of segments for void."""
    count = len(target)
    if not count:
        return torch.zeros_like(target.ids, dtype=torch.int64)
    numbers, order = target.numbers.sort()
    nearest = torch.searchsorted(numbers, target.ids).clamp(max=count - 1)
    return torch.where(numbers[nearest] == target.ids, order[nearest], count)


def batch_truth(maps: list[TruthMaps], size: Size) -> TruthMaps:
    """Stack the maps of images in a batch padded to `size`; nothing is learnt of padding."""
    height, width = size
    fill = {"classes": float(UNKNOWN), "areas": 0.0, "heat": 0.0, "offsets": 0.0}
    stacked = {
        name: torch.stack(
            [functional.pad(m, (0, width - m.shape[-1], 0, height - m.shape[-2]), value=value) for m in rows]
        )
        for (name, value), rows in zip(fill.items(), zip(*maps, strict=True), strict=True)
    }
    return TruthMaps(**stacked)


def _areas_and_centres(places: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the pixels (count,) of each place, and their mean (count, 2), row and column; in whole numbers summed."""
    rows, columns = (line.long() for line in _grid((places.shape[0], places.shape[1]), places.device))
    each = torch.stack([torch.ones_like(rows), rows, columns], dim=-1).reshape(-1, 3)
    sums = each.new_zeros(count, 3).index_add_(0, places.reshape(-1), each)
    return sums[:, 0], sums[:, 1:].float() / sums[:, :1].clamp(min=1)


def _heat(centres: Tensor, size: Size, sigma: float) -> Tensor:
    """Return the largest of Gaussians around centres (N, 2), as a map of `size`."""
    lines = [torch.arange(side, device=centres.device, dtype=torch.float32) for side in size]
    down, across = (
        torch.exp(-((line - centre[:, None]) ** 2) / (2 * sigma**2))
        for line, centre in zip(lines, centres.unbind(1), strict=True)
    )
    heat = centres.new_zeros(size)
    at_once = max(1, VALUES_AT_ONCE // heat.numel())
    for begin in range(0, len(centres), at_once):
        part = down[begin : begin + at_once, :, None] * across[begin : begin + at_once, None]
        heat = torch.maximum(heat, part.amax(0))
    return heat


def _grid(size: Size, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the row and the column (H, W) float32 of every pixel."""
    lines = (torch.arange(side, device=device, dtype=torch.float32) for side in size)
    rows, columns = torch.meshgrid(*lines, indexing="ij")
    return rows, columns
