"""Points at which masks are compared with the truth, instead of at every pixel (PointRend, Kirillov et al., 2020).

A point is drawn within a pixel whose truth is known, so that void, crowds and padding are never compared, whatever
share of the image they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.query.masks.regions import Regions
from coatseg.structures import Size


class Points(NamedTuple):
    """Points of an image.

    positions (..., P, 2), x and y from 0 to 1 over the padded image; pixels (..., P) int64, the places of the pixels
    that they lie in, in the flattened image without padding.
    """

    positions: Tensor
    pixels: Tensor

    def at(self, chosen: Tensor) -> Points:
        """Return the points of places `chosen` (..., K) among the P."""
        positions = self.positions.gather(-2, chosen[..., None].expand(*chosen.shape, 2))
        return Points(positions, self.pixels.gather(-1, chosen))

    def beside(self, others: Points) -> Points:
        """Return these points followed by others."""
        return Points(*(torch.cat(pair, dim=self.pixels.ndim - 1) for pair in zip(self, others, strict=True)))


@dataclass(frozen=True)
class Ground:
    """Where points of an image may lie.

    `known` (V,) int64 are the places of the pixels whose truth is known in the flattened image of `size` (height,
    width), which is the top left of an image padded to `padded` (height, width).
    """

    known: Tensor
    size: Size
    padded: Size

    @classmethod
    def of(cls, regions: Regions, padded: Size) -> Ground:
        """Return where points may be compared with regions."""
        height, width = regions.ignored.shape
        return cls(regions.known(), (height, width), padded)

    def draw(self, shape: Sequence[int]) -> Points:
        """Draw points evenly over the known pixels, by torch's global generator; without any, that is an error."""
        device = self.known.device
        pixels = self.known[torch.randint(len(self.known), tuple(shape), device=device)]
        places = torch.stack([pixels % self.size[1], torch.div(pixels, self.size[1], rounding_mode="floor")], dim=-1)
        sides = torch.tensor((self.padded[1], self.padded[0]), dtype=torch.float32, device=device)
        return Points((places + torch.rand(places.shape, device=device)) / sides, pixels)

    def draw_uncertain(self, logits: Tensor, count: int, oversampling: float, importance: float) -> Points:
        """Draw `count` points for each of the masks (M, h, w), mostly where its logits are nearest to 0.

        Of `oversampling` times as many points, the most uncertain ones become the share `importance` of the points; the
        others are drawn anew (PointRend, section 3.1 on training).
        """
        masks, uncertain = len(logits), int(importance * count)
        drawn = self.draw((masks, count - uncertain))
        if not uncertain:
            return drawn
        candidates = self.draw((masks, int(oversampling * count)))
        nearest = sampled(logits[:, None], candidates.positions)[:, 0].abs().topk(uncertain, dim=1, largest=False)
        return candidates.at(nearest.indices).beside(drawn)


def sampled(maps: Tensor, positions: Tensor) -> Tensor:
    """Return maps (M, C, h, w) at positions (M, P, 2), x and y from 0 to 1, bilinearly: (M, C, P)."""
    grid = (2 * positions - 1)[:, None]
    return functional.grid_sample(maps, grid, align_corners=False, padding_mode="border")[:, :, 0]


def covered(masks: Tensor, which: Tensor, pixels: Tensor) -> Tensor:
    """Return whether pixels (M, P) lie in the masks (N, H, W) of places `which` (M,): (M, P) float32."""
    offsets = which * (masks.shape[-2] * masks.shape[-1])
    return masks.flatten().take(offsets[:, None] + pixels).float()


def points_for(most: int, cells: int) -> int:
    """Return how many points to compare a mask at whose map has so many cells: as many as cells, but no more than most.

    The 12,544 points of the papers are a fifth of the cells of a 1024x1024 image; a 128x128 image has 1,024 in all.
    """
    return min(most, cells)
