"""The truth of a head that classifies masks: one mask for each region of an image, of whichever kind its truth is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from coatseg.structures import InstanceTarget, PanopticTarget


@dataclass(frozen=True)
class Regions:
    """The regions of one image, N of them, and the pixels of which nothing is known.

    labels (N,) int64, from 0; masks (N, H, W) bool, each with at least one pixel; ignored (H, W) bool: void, crowds and
    unlabelled pixels, which are background of no region.
    """

    labels: Tensor
    masks: Tensor
    ignored: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, target: Tensor | InstanceTarget | PanopticTarget) -> Self:
        """Return the regions of an image's truth: a label map, which is negative where it is unknown, or a target."""
        if isinstance(target, InstanceTarget):
            return cls.of_instances(target)
        return cls.of_segments(target) if isinstance(target, PanopticTarget) else cls.of_label_map(target)

    @classmethod
    def of_label_map(cls, label_map: Tensor) -> Self:
        """Return a region for each class of a label map (H, W) int64; negative numbers are ignored."""
        labels = torch.unique(label_map)
        labels = labels[labels >= 0]
        return cls(labels, label_map == labels[:, None, None], label_map < 0)

    @classmethod
    def of_instances(cls, target: InstanceTarget) -> Self:
        """Return a region for each object that is no crowd; the pixels of crowds that are no such object's are ignored.

        Raises:
            ValueError: the objects have no masks.
        """
        if target.masks is None:
            raise ValueError("the objects have no masks")
        single = ~target.crowd
        masks, crowds = target.masks[single], target.masks[target.crowd]
        return cls._of(target.labels[single], masks, crowds.any(0) & ~masks.any(0))

    @classmethod
    def of_segments(cls, target: PanopticTarget) -> Self:
        """Return a region for each segment that is no crowd; all other pixels are ignored."""
        single = ~target.crowd
        masks = target.ids == target.numbers[single][:, None, None]
        return cls._of(target.labels[single], masks, ~masks.any(0))

    @classmethod
    def _of(cls, labels: Tensor, masks: Tensor, ignored: Tensor) -> Self:
        """Leave out regions without a pixel, of which an augmentation may have left nothing."""
        there = masks.flatten(1).any(1)
        return cls(labels[there], masks[there], ignored)

    def known(self) -> Tensor:
        """Return the places (V,) int64 of the pixels that are not ignored, in the flattened image."""
        return torch.nonzero(~self.ignored.flatten())[:, 0]
