"""Panoptic quality: how well segments are found, and how well those found fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.distributed

from coatseg.errors import listed
from coatseg.metrics.means import Values, mean_of_defined, sorted_rows
from coatseg.metrics.segments import match_segments
from coatseg.structures import PanopticPrediction, PanopticTarget

DEFINITION = (
    "PQ as panopticapi computes it (Kirillov et al., 2019), at original sizes. A predicted segment is right (TP) if "
    "its IoU with a true segment of its class is more than 0.5, else false (FP); a true segment without such a partner "
    "is missed (FN). Pixels without annotation (void) are left out of the union. A crowd is neither found nor missed, "
    "and a segment without a partner is not counted if more than half of it lies on void and on the crowd of its class "
    "(of several in an image, the last one listed). Segments of stuff are not merged. Counts are over all images of "
    "the split; for each class, SQ = mean IoU of its right segments (0 without any), RQ = TP / (TP + FP/2 + FN/2) and "
    "PQ = SQ x RQ. Means weigh classes alike and are over those with TP + FP + FN > 0, the same ones for PQ, SQ and RQ."
)

GROUPS = {"things": "thing", "stuff": "stuff"}
"""Classes with instances and the others, which have means of their own, and what one of each is called."""

UNITS = 2**53
"""The IoU of a match, a double of more than 0.5, is a whole number of these parts of 1, so that sums can be exact."""

Share = tuple[npt.NDArray[np.int64], list[int]]
"""The counts (K, 3) of right, false and missed segments, and the sums (K,) of IoU in UNITS."""


class PanopticCounts:
    """Counts right, false and missed segments of each class, one image at a time, and adds up their IoU.

    `classes` are the names of all classes, `things` the numbers of those with instances; the others are stuff. All
    counts are integers, also the sums of IoU (in `UNITS`): neither the order of images nor the number of processes
    matters, and memory does not grow.
    """

    def __init__(self, classes: Sequence[str], things: Sequence[int]) -> None:
        self.classes = tuple(classes)
        self.things = tuple(things)
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.counts = np.zeros((len(self.classes), 3), np.int64)
        self.units = [0] * len(self.classes)  # Python's integers, which do not overflow

    def update(self, prediction: PanopticPrediction, truth: PanopticTarget) -> None:
        """Add one image, both at its original size.

        Raises:
            ValueError: the id maps differ in size, or a label is the number of no class.
        """
        for name, segments in (("truth", truth), ("prediction", prediction)):
            strange = set(segments.labels.tolist()) - set(range(len(self.classes)))
            if strange:
                raise ValueError(
                    f"{prediction.id}: the {name} has labels {sorted(strange)}, with {len(self.classes)} classes"
                )
        matches = match_segments(prediction, truth)
        labels, true_labels = prediction.labels.cpu().numpy(), truth.labels.cpu().numpy()
        groups = (labels[matches.right], labels[matches.false], true_labels[matches.missed])
        for column, group in enumerate(groups):
            self.counts[:, column] += np.bincount(group, minlength=len(self.classes))
        for label, iou in zip(groups[0].tolist(), matches.iou[matches.right].tolist(), strict=True):
            self.units[label] += int(iou * UNITS)

    def scores(self) -> PanopticScores:
        """Return the scores over the images of all processes, the same in every process."""
        shares: list[Any] = [self.share]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shares = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(shares, self.share)
        return panoptic_scores(shares, self.classes, self.things)

    @property
    def share(self) -> Share:
        """What this process has counted."""
        return self.counts, self.units


@dataclass(frozen=True)
class PanopticScores:
    """Panoptic quality (PQ), segmentation quality (SQ) and recognition quality (RQ) per class, and their means.

    `counts` (K, 3) are right, false and missed segments of each class; `iou` (K,) is the sum of the IoU of the right
    ones. Qualities are NaN for a class that is neither in the truth nor predicted.
    """

    classes: tuple[str, ...]
    things: tuple[int, ...]
    counts: npt.NDArray[np.int64]
    iou: Values
    definition: str = DEFINITION

    @property
    def sq(self) -> Values:
        """The mean IoU (K,) of the right segments; 0 without any."""
        right = self.counts[:, 0]
        return np.where(self._present, self.iou / np.maximum(right, 1), np.nan)

    @property
    def rq(self) -> Values:
        """The F1 (K,) of the segments."""
        return self._per_segment(self.counts[:, 0])

    @property
    def pq(self) -> Values:
        """The panoptic quality (K,), SQ x RQ."""
        return self._per_segment(self.iou)

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes that the means leave out."""
        return tuple(name for name, there in zip(self.classes, self._present, strict=True) if not there)

    def ranked(self, group: str) -> list[int]:
        """Return the numbers of the classes of a group, the best PQ first and absent ones last."""
        numbers = np.flatnonzero(np.isin(np.arange(len(self.classes)), self.things) == (group == "things"))
        order: list[int] = numbers[np.argsort(-self.pq[numbers], kind="stable")].tolist()
        return order

    def summary(self) -> dict[str, float]:
        """Return the means by name: PQ, SQ, RQ, PQ_things, ..., RQ_stuff; NaN over no class."""
        qualities = {"PQ": self.pq, "SQ": self.sq, "RQ": self.rq}
        means = {name: mean_of_defined(values) for name, values in qualities.items()}
        return means | {
            f"{name}_{group}": mean_of_defined(values[self.ranked(group)])
            for group in GROUPS
            for name, values in qualities.items()
        }

    def headline(self) -> str:
        """Return one line with the means and the classes that they leave out; '-' is a mean over no class."""
        words = {name: "-" if np.isnan(value) else f"{value:.4f}" for name, value in self.summary().items()}
        groups = [
            f"{group} PQ {words[f'PQ_{group}']} (SQ {words[f'SQ_{group}']}, RQ {words[f'RQ_{group}']})"
            for group in GROUPS
        ]
        absent = [f"absent and left out: {listed(self.absent)}"] if self.absent else []
        return "; ".join([f"PQ {words['PQ']} (SQ {words['SQ']}, RQ {words['RQ']})", *groups, *absent])

    def table(self) -> list[tuple[str, ...]]:
        """Return a row per class under a row of names, things before stuff, the best PQ of each first.

        Qualities are in percent, '-' where undefined; `segments` is the number of true ones, without crowds.
        """
        rows = []
        for group, kind in GROUPS.items():
            numbers = self.ranked(group)
            names, qualities = [self.classes[number] for number in numbers], (self.pq, self.sq, self.rq)
            for number, (name, *percent) in zip(
                numbers, sorted_rows(names, *(values[numbers] for values in qualities)), strict=True
            ):
                right, false, missed = self.counts[number].tolist()
                rows.append((name, kind, *percent, *map(str, (right, false, missed, right + missed))))
        return [("class", "kind", "PQ", "SQ", "RQ", "TP", "FP", "FN", "segments"), *rows]

    @property
    def _present(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.counts.any(1))

    def _per_segment(self, values: npt.NDArray[Any]) -> Values:
        """Divide by TP + FP/2 + FN/2."""
        total = self.counts @ np.array([1.0, 0.5, 0.5])
        return np.where(self._present, values / np.where(self._present, total, 1.0), np.nan)


def panoptic_scores(shares: Sequence[Share], classes: Sequence[str], things: Sequence[int]) -> PanopticScores:
    """Return the scores of what one or more processes have counted."""
    counts = np.sum([counts for counts, _ in shares], axis=0)
    units = [sum(of_class) for of_class in zip(*(units for _, units in shares), strict=True)]
    return PanopticScores(tuple(classes), tuple(things), counts, np.array([total / UNITS for total in units]))


def image_panoptic_quality(prediction: PanopticPrediction, truth: PanopticTarget, classes: int) -> float:
    """Return the mean PQ of one image over the classes that count in it; NaN if none does."""
    counts = PanopticCounts(("",) * classes, ())
    counts.update(prediction, truth)
    return mean_of_defined(panoptic_scores([counts.share], counts.classes, ()).pq)
