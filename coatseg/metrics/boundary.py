"""Boundary IoU (Cheng et al., CVPR 2021, section 4): how well contours agree, on objects of any size."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

DISTANCE = 0.02
"""The width of a boundary region as a share of the image's diagonal, as the paper sets it."""


class BoundaryCounts:
    """Counts pixels near contours: `counts` (2, K) int64, for each class those in both regions and in either.

    The boundary region of a class holds its pixels that are at most d steps, to neighbours of any side or corner, from
    one outside it; d is `distance` times the image's diagonal, rounded, and at least 1. As in the authors' code the
    border of the image is a contour. So is that of ignored pixels, which belong to no class in truth or prediction.
    """

    def __init__(self, classes: int, ignore_index: int, distance: float = DISTANCE) -> None:
        self.classes = classes
        self.ignore_index = ignore_index
        self.distance = distance
        self.counts = torch.zeros(2, classes, dtype=torch.int64)

    @property
    def definition(self) -> str:
        """The definition of boundary IoU and its mean, in words."""
        return (
            "Boundary IoU (Cheng et al., CVPR 2021): the IoU, over the split, of the pixels of a class within "
            f"{100 * self.distance:g}% of the image's diagonal of its contour in the truth and in the prediction; the "
            "border of the image and that of ignored pixels are contours; mBIoU: its mean over the classes with one."
        )

    def reset(self) -> None:
        """Set all counts to zero."""
        self.counts.zero_()

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Count the pixels of one image, given as two label maps (H, W) of the same size on any device."""
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in size")
        true, predicted = truth.cpu().numpy(), prediction.cpu().numpy()
        valid = true != self.ignore_index
        steps = max(1, round(self.distance * math.hypot(*true.shape)))
        near_true, near_predicted = (boundary_region(labels, valid, steps) for labels in (true, predicted))
        of_truth, of_prediction, of_both = (
            np.bincount(labels, minlength=self.classes)
            for labels in (
                true[near_true],
                predicted[near_predicted],
                true[near_true & near_predicted & (true == predicted)],
            )
        )
        self.counts += torch.from_numpy(np.stack([of_both, of_truth + of_prediction - of_both]))


def boundary_region(
    label_map: npt.NDArray[np.integer], valid: npt.NDArray[np.bool_], steps: int
) -> npt.NDArray[np.bool_]:
    """Mark the valid pixels that have another class, an invalid pixel or the image's border at most `steps` away.

    Distance is the larger of the steps down and across, as of a mask eroded `steps` times by a 3x3 square. Comparing
    the least and the greatest number around a pixel does that for all classes at once.
    """
    numbers = np.where(valid, label_map + 1, 0).astype(np.uint16)
    square = np.ones((2 * steps + 1, 2 * steps + 1), np.uint8)
    least = cv2.erode(numbers, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    region: npt.NDArray[np.bool_] = valid & (least != cv2.dilate(numbers, square))
    return region
