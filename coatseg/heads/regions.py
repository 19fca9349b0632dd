"""Regions of a pyramid, pooled by aligned RoIAlign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import LevelMapper

from coatseg.structures import Size

CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4
"""A box of 224x224 pixels is pooled at stride 16 = 2**4 (Lin et al., 2017, equation 1)."""
LARGE_LEVEL = 5
"""The coarsest map that boxes are pooled from, stride 32; coarser ones serve proposals alone."""


class RegionPooler(MultiScaleRoIAlign):  # type: ignore[misc]
    """Pools a box from the level that suits its size, by RoIAlign without its half-pixel shift.

    torchvision's shifts every sample by half a pixel of the map, and guesses strides from the images' sizes. This one
    is aligned as in Detectron2 and MMDetection, with as many samples a bin as the bin has pixels, and knows its
    `strides`, those of the finest maps.
    """

    def __init__(self, strides: Sequence[int], output_size: int) -> None:
        levels = [stride.bit_length() - 1 for stride in strides if stride <= 2**LARGE_LEVEL]
        super().__init__([str(number) for number in range(len(levels))], output_size, 0)
        self.strides = tuple(strides[: len(levels)])
        self.choose = LevelMapper(levels[0], levels[-1], CANONICAL_SIZE, CANONICAL_LEVEL)

    def forward(self, x: Mapping[str, Tensor], boxes: list[Tensor], image_shapes: Sequence[Size] = ()) -> Tensor:
        """Pool boxes (N, 4), a tensor an image, of maps (B, C, h, w): (all N, C, output_size, output_size)."""
        maps = [x[name] for name in self.featmap_names]
        images = torch.cat([torch.full_like(rows[:, :1], number) for number, rows in enumerate(boxes)])
        rows = torch.cat([images, torch.cat(boxes)], dim=1)
        levels = self.choose(boxes)
        pooled = maps[0].new_zeros(rows.shape[0], maps[0].shape[1], *self.output_size)
        for level, (features, stride) in enumerate(zip(maps, self.strides, strict=True)):
            chosen = torch.where(levels == level)[0]
            # In float32: boxes of 16 bit would move by whole pixels.
            part = roi_align(features.float(), rows[chosen].float(), self.output_size, 1 / stride, 0, aligned=True)
            pooled = pooled.index_copy(0, chosen, part.to(pooled.dtype))
        return pooled
