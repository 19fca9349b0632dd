"""The confusion matrix and what is read from it; the project's one definition of mIoU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

DEFINITION = (
    "mIoU: one integer confusion matrix over all pixels of the split at their original size, without ignored ones; "
    "IoU of a class = true positives / (true positives + false positives + false negatives); "
    "the mean is over the classes whose union is not empty."
)


class ConfusionMatrix:
    """Counts pixels by truth (row) and prediction (column) in int64."""

    def __init__(self, classes: int, ignore_index: int) -> None:
        self.classes = classes
        self.ignore_index = ignore_index
        self.counts = torch.zeros(classes, classes, dtype=torch.int64)

    def reset(self) -> None:
        """Forget all pixels."""
        self.counts.zero_()

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add one image: two label maps (H, W) of the same size, on any device."""
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in size")
        valid = truth != self.ignore_index
        pairs = truth[valid] * self.classes + prediction[valid]
        counts = torch.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)
        self.counts += counts.to(self.counts.device)


@dataclass(frozen=True)
class SemanticScores:
    """What a confusion matrix says: per class IoU, accuracy (recall) and share of true pixels, and the means.

    IoU is NaN for a class that occurs neither in truth nor in prediction; accuracy, for one not in the truth.
    """

    classes: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    definition: str = DEFINITION

    @property
    def mean_iou(self) -> float:
        """The mean IoU over the classes with a non-empty union; NaN if there is none."""
        return _mean_of_present(self.iou)

    @property
    def mean_accuracy(self) -> float:
        """The mean recall over the classes in the truth."""
        return _mean_of_present(self.accuracy)

    @property
    def pixel_accuracy(self) -> float:
        """The share of valid pixels that are right."""
        total = int(self.confusion.sum())
        return int(np.trace(self.confusion)) / total if total else float("nan")

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes that the means leave out."""
        return tuple(name for name, iou in zip(self.classes, self.iou, strict=True) if np.isnan(iou))

    def summary(self) -> dict[str, float]:
        """Give the means by name."""
        return {"mIoU": self.mean_iou, "mAcc": self.mean_accuracy, "aAcc": self.pixel_accuracy}

    def headline(self) -> str:
        """Give the means in one line, and the classes that they leave out."""
        absent = f"; absent and left out: {', '.join(self.absent)}" if self.absent else ""
        return (
            f"mIoU {self.mean_iou:.4f}, mean accuracy {self.mean_accuracy:.4f}, "
            f"pixel accuracy {self.pixel_accuracy:.4f}{absent}"
        )

    def table(self) -> list[tuple[str, ...]]:
        """Give (class, IoU, accuracy, share of true pixels) rows in percent under their names; '-' where undefined."""
        values = zip(self.classes, self.iou, self.accuracy, self.share, strict=True)
        rows = [(name, *map(_percent, numbers)) for name, *numbers in values]
        return [("class", "IoU", "accuracy", "share of pixels"), *rows]


def semantic_scores(counts: Tensor | npt.NDArray[Any], classes: tuple[str, ...]) -> SemanticScores:
    """Read scores from a (K, K) integer confusion matrix, rows the truth."""
    confusion = np.asarray(counts, dtype=np.int64)
    hits = np.diag(confusion).astype(np.float64)
    truth = confusion.sum(1)
    union = truth + confusion.sum(0) - np.diag(confusion)
    with np.errstate(invalid="ignore", divide="ignore"):
        return SemanticScores(classes, confusion, hits / union, hits / truth, truth / truth.sum())


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.2f}"


def _mean_of_present(values: npt.NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
