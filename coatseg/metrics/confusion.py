"""The confusion matrix and the scores computed from it; the project's one definition of mIoU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from coatseg.errors import listed
from coatseg.metrics.means import mean_of_defined, sorted_rows

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
        """Set all counts to zero."""
        self.counts.zero_()

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Count the pixels of one image, given as two label maps (H, W) of the same size on any device."""
        if prediction.shape != truth.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} and truth {tuple(truth.shape)} differ in size")
        valid = truth != self.ignore_index
        pairs = truth[valid] * self.classes + prediction[valid]
        counts = torch.bincount(pairs, minlength=self.classes**2).reshape(self.classes, self.classes)
        self.counts += counts.to(self.counts.device)


@dataclass(frozen=True)
class SemanticScores:
    """The scores of a confusion matrix: per class IoU, accuracy (recall) and share of true pixels, and their means.

    IoU is NaN for a class that occurs neither in truth nor in prediction; accuracy, for one not in the truth.
    `boundary_iou` is None unless boundaries were counted.
    """

    classes: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    definition: str = DEFINITION
    boundary_iou: npt.NDArray[np.float64] | None = None

    @property
    def mean_iou(self) -> float:
        """The mean IoU over the classes with a non-empty union; NaN if there is none."""
        return mean_of_defined(self.iou)

    @property
    def mean_accuracy(self) -> float:
        """The mean recall over the classes in the truth."""
        return mean_of_defined(self.accuracy)

    @property
    def pixel_accuracy(self) -> float:
        """The share of valid pixels that are classified correctly."""
        total = int(self.confusion.sum())
        return int(np.trace(self.confusion)) / total if total else float("nan")

    @property
    def mean_boundary_iou(self) -> float:
        """The mean boundary IoU over the classes that have one; NaN if there is none."""
        return float("nan") if self.boundary_iou is None else mean_of_defined(self.boundary_iou)

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes that the mean IoU leaves out."""
        return tuple(name for name, iou in zip(self.classes, self.iou, strict=True) if np.isnan(iou))

    def summary(self) -> dict[str, float]:
        """Return the means by name."""
        means = {"mIoU": self.mean_iou, "mAcc": self.mean_accuracy, "aAcc": self.pixel_accuracy}
        return means if self.boundary_iou is None else {**means, "mBIoU": self.mean_boundary_iou}

    def headline(self) -> str:
        """Return one line with the means and the classes that they leave out."""
        absent = f"; absent and left out: {listed(self.absent)}" if self.absent else ""
        boundaries = "" if self.boundary_iou is None else f", mBIoU {self.mean_boundary_iou:.4f}"
        return (
            f"mIoU {self.mean_iou:.4f}, mean accuracy {self.mean_accuracy:.4f}, "
            f"pixel accuracy {self.pixel_accuracy:.4f}{boundaries}{absent}"
        )

    def table(self) -> list[tuple[str, ...]]:
        """Return a row of percentages per class under a row of names, best IoU first, '-' and last where undefined."""
        columns = {"IoU": self.iou, "accuracy": self.accuracy, "share of pixels": self.share}
        if self.boundary_iou is not None:
            columns = {"IoU": self.iou, "boundary IoU": self.boundary_iou, **columns}
        return [("class", *columns), *sorted_rows(self.classes, *columns.values())]


def semantic_scores(counts: Tensor | npt.NDArray[Any], classes: tuple[str, ...]) -> SemanticScores:
    """Compute the scores of a (K, K) integer confusion matrix, whose rows are the truth."""
    confusion = np.asarray(counts, dtype=np.int64)
    hits = np.diag(confusion).astype(np.float64)
    truth = confusion.sum(1)
    union = truth + confusion.sum(0) - np.diag(confusion)
    with np.errstate(invalid="ignore", divide="ignore"):
        return SemanticScores(classes, confusion, hits / union, hits / truth, truth / truth.sum())


def with_boundaries(scores: SemanticScores, counts: Tensor | npt.NDArray[Any], definition: str) -> SemanticScores:
    """Add to scores the boundary IoU of (2, K) integer counts of intersections and unions, and its definition."""
    both, either = np.asarray(counts, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return replace(scores, boundary_iou=both / either, definition=f"{scores.definition} {definition}")


def image_mean_iou(prediction: Tensor, truth: Tensor, classes: int, ignore_index: int) -> float:
    """Return the mean IoU of one image over the classes in its truth or prediction; NaN if all of it is ignored."""
    confusion = ConfusionMatrix(classes, ignore_index)
    confusion.update(prediction, truth)
    return semantic_scores(confusion.counts, ("",) * classes).mean_iou
