"""Pixel counts of layers, one layer per class, and the scores computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from coatseg.errors import listed
from coatseg.metrics.means import mean_of_defined, sorted_rows

DEFINITION = (
    "For each class by itself, integer counts over all pixels of the split at their original size, without ignored "
    "ones: TP, FP, FN. IoU = TP / (TP + FP + FN); Dice (F1) = 2 TP / (2 TP + FP + FN); precision = TP / (TP + FP); "
    "recall = TP / (TP + FN). mIoU and mean Dice are over the classes whose union is not empty, mean precision over "
    "those predicted, mean recall over those in the truth."
)


class LayerCounts:
    """Counts the pixels of each class in int64: `counts` (K, 3) holds intersection, truth and prediction."""

    def __init__(self, classes: int, ignore_index: int) -> None:
        self.ignore_index = ignore_index
        self.counts = torch.zeros(classes, 3, dtype=torch.int64)

    def reset(self) -> None:
        """Set all counts to zero."""
        self.counts.zero_()

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Count one image: prediction (K, H, W) bool and truth (K, H, W) of 0, 1 and ignored, on any device."""
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in shape")
        predicted, there = prediction & (truth != self.ignore_index), truth == 1
        counts = [pixels.sum((1, 2)) for pixels in (predicted & there, there, predicted)]
        self.counts += torch.stack(counts, dim=1).to(self.counts.device)


@dataclass(frozen=True)
class LayerScores:
    """The scores of the counts: per class IoU, Dice, precision and recall, and their means.

    IoU and Dice are NaN for a class that is neither in the truth nor predicted, precision for one that is not
    predicted, recall for one that is not in the truth.
    """

    classes: tuple[str, ...]
    iou: npt.NDArray[np.float64]
    dice: npt.NDArray[np.float64]
    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    definition: str = DEFINITION

    @property
    def mean_iou(self) -> float:
        """The mean IoU over the classes with a non-empty union; NaN if there is none."""
        return mean_of_defined(self.iou)

    @property
    def mean_dice(self) -> float:
        """The mean Dice over the classes with a non-empty union; NaN if there is none."""
        return mean_of_defined(self.dice)

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes that mIoU and mean Dice leave out."""
        return tuple(name for name, iou in zip(self.classes, self.iou, strict=True) if np.isnan(iou))

    def summary(self) -> dict[str, float]:
        """Return the means by name."""
        return {"mIoU": self.mean_iou, "mDice": self.mean_dice}

    def headline(self) -> str:
        """Return one line with the means and the classes that they leave out."""
        absent = f"; absent and left out: {listed(self.absent)}" if self.absent else ""
        return f"mIoU {self.mean_iou:.4f}, mean Dice {self.mean_dice:.4f}{absent}"

    def table(self) -> list[tuple[str, ...]]:
        """Return a row of percentages per class under a row of names, best IoU first, '-' and last where undefined."""
        columns = {"IoU": self.iou, "Dice": self.dice, "precision": self.precision, "recall": self.recall}
        return [("class", *columns), *sorted_rows(self.classes, *columns.values())]


def layer_scores(counts: Tensor | npt.NDArray[Any], classes: tuple[str, ...]) -> LayerScores:
    """Compute the scores of (K, 3) counts of intersection, truth and prediction."""
    intersection, truth, predicted = np.asarray(counts, dtype=np.int64).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return LayerScores(
            classes,
            iou=intersection / (truth + predicted - intersection),
            dice=2 * intersection / (truth + predicted),
            precision=intersection / predicted,
            recall=intersection / truth,
        )
