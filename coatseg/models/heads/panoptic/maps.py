"""The maps that Panoptic-DeepLab predicts."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class PanopticMaps(NamedTuple):
    """Maps (B, ., H, W) float32 at the size of the images, or of one image without the first axis.

    classes (classes) logits; centres (1) of things, near 1 where there is one, 0 elsewhere; offsets (2) in pixels, down
    and to the right, from a thing's pixel to its centre.
    """

    classes: Tensor
    centres: Tensor
    offsets: Tensor
