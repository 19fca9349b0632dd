"""Points at which masks are compared with the truth, instead of at every pixel (PointRend, Kirillov et al., 2020).

A point is drawn within a pixel whose truth is known, so that void, crowds and padding are never compared, whatever
share of the image they are. All masks of an image share its candidates: each is compared at its own choice of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.query.masks.regions import Regions
from coatseg.structures import Size

OVERSAMPLING = 3.0
"""How many candidates there are for a point (PointRend, section 4.1)."""


class Points(NamedTuple):
    """K points of an image.

    positions (K, 2), x and y from 0 to 1 over the padded image; pixels (K,) int64, the places of the pixels that they
    lie in, in the flattened image without padding.
    """

    positions: Tensor
    pixels: Tensor


@dataclass(frozen=True)
class Sampling:
    """How many points a mask is compared at: `count`, the share `importance` of which lies where it is most uncertain.

    `candidates` are the points to choose these from, `total` all that are drawn for an image: the rest of the `count`
    follows the candidates.
    """

    count: int
    importance: float

    @classmethod
    def of(cls, most: int, importance: float, cells: int) -> Sampling:
        """Return the sampling for masks of so many cells: as many points as cells, but no more than `most`.

        The 12,544 points of the papers are a fifth of the cells of a 1024x1024 image; a 128x128 image has 1,024 in all.
        """
        return cls(min(most, cells), importance)

    @property
    def uncertain(self) -> int:
        """How many points lie where the mask is most uncertain."""
        return int(self.importance * self.count)

    @property
    def candidates(self) -> int:
        """How many points these are chosen from."""
        return int(OVERSAMPLING * self.count) if self.uncertain else 0

    @property
    def total(self) -> int:
        """How many points are drawn for an image."""
        return self.candidates + self.count - self.uncertain

    def chosen(self, logits: Tensor) -> Tensor | None:
        """Return the places (M, count) of each mask's points among all, by its logits (M, total); None for all.

        They are the candidates whose logits are nearest to 0 (PointRend, section 3.1 on training), and the others.
        """
        if not self.uncertain:
            return None
        nearest = logits[:, : self.candidates].detach().abs().topk(self.uncertain, dim=1, largest=False, sorted=False)
        others = torch.arange(self.candidates, self.total, device=logits.device).expand(len(logits), -1)
        return torch.cat([nearest.indices, others], dim=1)


def draw(regions: Regions, count: int, padded: Size) -> Points:
    """Draw points evenly over the known pixels of an image that is padded to `padded`, by torch's global generator.

    Without a known pixel that is an error.
    """
    known, width = regions.known(), regions.ignored.shape[1]
    pixels = known[torch.randint(len(known), (count,), device=known.device)]
    places = torch.stack([pixels % width, torch.div(pixels, width, rounding_mode="floor")], dim=-1)
    sides = torch.tensor((padded[1], padded[0]), dtype=torch.float32, device=known.device)
    return Points((places + torch.rand(count, 2, device=known.device)) / sides, pixels)


def sampled(maps: Tensor, positions: Tensor) -> Tensor:
    """Return maps (C, h, w) at positions (K, 2), x and y from 0 to 1, bilinearly: (C, K).

    Beyond the centres of the outermost cells a map goes on as it is there, as it does where masks are resized.
    """
    grid = (2 * positions - 1)[None, None]
    return functional.grid_sample(maps[None], grid, align_corners=False, padding_mode="border")[0, :, 0]
