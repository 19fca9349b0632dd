"""What a detector finds in an image, and how it is brought to the image's original size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.base import Objects
from coatseg.structures import Size

PIXELS_AT_ONCE = 2**26
"""How many pixels of masks are resampled at once, which bounds the memory."""


@dataclass(frozen=True)
class Detections:
    """One image's objects in its own pixels, N of them, the surest first.

    boxes (N, 4) float32; labels (N,) int64, from 0; scores (N,) float32; masks (N, 1, M, M) float32, the probability of
    the object within its box, or None.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor | None = None

    def objects(self, size: Size, original: Size) -> Objects:
        """Return the objects at the `original` size of the image, with their masks pasted there."""
        boxes = scaled_boxes(self.boxes, size, original)
        masks = None if self.masks is None else paste_masks(self.masks, boxes, original)
        return Objects(boxes, self.labels, self.scores, masks)


def scaled_boxes(boxes: Tensor, size: Sequence[int], original: Sequence[int]) -> Tensor:
    """Return boxes (N, 4) of an image resized to `size` (height, width), scaled to its `original` size."""
    down, across = original[0] / size[0], original[1] / size[1]
    return boxes * boxes.new_tensor([across, down, across, down])


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
