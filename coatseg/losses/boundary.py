"""Where labels change: the pixels near a boundary."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from coatseg.losses.truth import are_layers


def near_boundary(labels: Tensor, ignore_index: int, distance: int) -> Tensor:
    """Mark the pixels with a pixel of another label at most `distance` rows and columns away.

    Labels (B, H, W) or layers (B, K, H, W), whose boundaries are each layer's own, to a bool tensor of their shape.
    What is ignored is near nothing and makes no boundary, nor does the edge of the image.
    """
    maps = labels if are_layers(labels) else labels.unsqueeze(1)
    known, numbers = maps != ignore_index, maps.float()
    highest = _highest_around(numbers.masked_fill(~known, -torch.inf), distance)
    lowest = -_highest_around((-numbers).masked_fill(~known, -torch.inf), distance)
    return (known & (highest > lowest)).view_as(labels)


def _highest_around(maps: Tensor, distance: int) -> Tensor:
    """Give the maximum over each pixel's window of 2 * distance + 1 rows and columns, one direction after the other."""
    window = 2 * distance + 1
    rows = functional.max_pool2d(maps, (1, window), stride=1, padding=(0, distance))
    return functional.max_pool2d(rows, (window, 1), stride=1, padding=(distance, 0))
