"""Masks of regions: what they are to become, their loss, and pasting predicted ones back into the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align

from coatseg.heads.shares import share
from coatseg.structures import Size

PIXELS_AT_ONCE = 2**26
"""How many pixels of masks are resampled at once, which bounds the memory."""


def mask_loss(
    predict: Callable[[list[Tensor]], Tensor],
    boxes: Sequence[Tensor],
    matched: Sequence[Tensor],
    labels: Sequence[Tensor],
    targets: Sequence[dict[str, Tensor]],
) -> Tensor:
    """Give the mean binary cross entropy of the masks of those boxes that hold an object (He et al., 2017, section 3).

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


def paste_masks(masks: Tensor, boxes: Tensor, size: Size, threshold: float = 0.5) -> Tensor:
    """Resample masks (N, 1, M, M) of probabilities from their boxes (N, 4) to (N, height, width) bool, on the CPU.

    A pixel belongs to an object if the bilinear probability at its centre reaches the threshold; outside the box it
    does not.
    """
    height, width = size
    pasted = torch.zeros(len(masks), height, width, dtype=torch.bool)
    at_once = max(1, PIXELS_AT_ONCE // (height * width))
    y = torch.arange(height, device=boxes.device, dtype=torch.float32) + 0.5
    x = torch.arange(width, device=boxes.device, dtype=torch.float32) + 0.5
    for begin in range(0, len(masks), at_once):
        left, top, right, bottom = boxes[begin : begin + at_once].float().unbind(1)
        down = 2 * (y - top[:, None]) / (bottom - top)[:, None] - 1
        across = 2 * (x - left[:, None]) / (right - left)[:, None] - 1
        across, down = across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)
        grid = torch.stack([across, down], dim=-1)
        part = functional.grid_sample(masks[begin : begin + at_once].float(), grid, align_corners=False)[:, 0]
        pasted[begin : begin + at_once] = (part >= threshold).cpu()
    return pasted
