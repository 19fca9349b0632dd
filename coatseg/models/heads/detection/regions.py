"""Regions of a pyramid: pooled by aligned RoIAlign; their masks, what these are to become, and their loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import MultiScaleRoIAlign, roi_align
from torchvision.ops.poolers import LevelMapper

from coatseg.models.heads.detection.base import share
from coatseg.models.heads.detection.detections import PIXELS_AT_ONCE
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


def mask_loss(
    predict: Callable[[list[Tensor]], Tensor],
    boxes: Sequence[Tensor],
    matched: Sequence[Tensor],
    labels: Sequence[Tensor],
    targets: Sequence[dict[str, Tensor]],
) -> Tensor:
    """Return the mean binary cross entropy of the masks of boxes that hold an object (He et al., 2017, section 3).

    The mean is over the boxes of all processes: averaged over them, what each gives is that of one with all boxes.
    `predict` maps boxes (N, 4), a tensor an image, to logits (all N, 1 + classes, M, M); `matched` are the objects in
    `targets` that the boxes belong to, `labels` their classes, 0 being background.
    """
    objects = [torch.where(rows > 0)[0] for rows in labels]
    chosen = [rows[kept] for rows, kept in zip(boxes, objects, strict=True)]
    indices = [rows[kept] for rows, kept in zip(matched, objects, strict=True)]
    logits = predict(chosen)
    part = share(torch.tensor(len(logits), device=logits.device))
    if not len(logits):
        return logits.sum() * 0  # so that the layers have a gradient, as every process of a distributed run expects
    aims = [
        mask_targets(target["masks"], rows, index, logits.shape[-1])
        for target, rows, index in zip(targets, chosen, indices, strict=True)
    ]
    classes = torch.cat([rows[kept] for rows, kept in zip(labels, objects, strict=True)])
    own = logits[torch.arange(len(classes), device=classes.device), classes]
    return part * functional.binary_cross_entropy_with_logits(own, torch.cat(aims))


def mask_targets(masks: Tensor, boxes: Tensor, indices: Tensor, side: int) -> Tensor:
    """Resample masks (N, H, W) bool within boxes (K, 4), each that of `indices` (K,): (K, side, side), 0 or 1.

    torchvision's own are half a pixel off, by an RoIAlign that is not aligned; these agree with `paste_masks`.
    """
    height, width = masks.shape[-2:]
    at_once = max(1, PIXELS_AT_ONCE // (height * width))
    parts = [masks.new_zeros(0, side, side, dtype=torch.float32)]
    for begin in range(0, len(boxes), at_once):
        used, places = torch.unique(indices[begin : begin + at_once], return_inverse=True)
        rows = torch.cat([places[:, None].float(), boxes[begin : begin + at_once].float()], dim=1)
        parts.append(roi_align(masks[used, None].float(), rows, side, 1.0, 0, aligned=True)[:, 0])
    return (torch.cat(parts) >= 0.5).float()
