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

GROUPS = ("", "things", "stuff")
"""What means are over: all classes, those with instances, the others."""

UNITS = 2**53
"""The IoU of a match, a double of more than 0.5, is a whole number of these parts of 1, so that sums can be exact."""


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
        shares: list[Any] = [(self.counts, self.units)]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shares = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(shares, (self.counts, self.units))
        counts = sum((counts for counts, _ in shares), np.zeros_like(self.counts))
        units = [sum(of_class) for of_class in zip(*(units for _, units in shares), strict=True)]
        return PanopticScores(self.classes, self.things, counts, np.array([total / UNITS for total in units]))


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

    def mean(self, values: Values, group: str = "") -> float:
        """Return the mean of `values` (K,) over all classes, "things" or "stuff"; NaN where none is defined."""
        of_group = np.isin(np.arange(len(self.classes)), self.things) == (group != "stuff")
        return mean_of_defined(values[of_group] if group else values)

    def summary(self) -> dict[str, float]:
        """Return the means by name: PQ, SQ, RQ, PQ_things, ..., RQ_stuff."""
        qualities = {"PQ": self.pq, "SQ": self.sq, "RQ": self.rq}
        return {
            f"{name}_{group}".rstrip("_"): self.mean(values, group)
            for group in GROUPS
            for name, values in qualities.items()
        }

    def headline(self) -> str:
        """Return one line with the means and the classes that they leave out; '-' is a mean over no class."""
        words = {name: "-" if np.isnan(value) else f"{value:.4f}" for name, value in self.summary().items()}
        groups = "; ".join(
            f"{group} PQ {words[f'PQ_{group}']} (SQ {words[f'SQ_{group}']}, RQ {words[f'RQ_{group}']})"
            for group in GROUPS[1:]
        )
        absent = f"; absent and left out: {listed(self.absent)}" if self.absent else ""
        return f"PQ {words['PQ']} (SQ {words['SQ']}, RQ {words['RQ']}); {groups}{absent}"

    def table(self) -> list[tuple[str, ...]]:
        """Return a row per class under a row of names, things before stuff, the best PQ of each first.

        Qualities are in percent, '-' where undefined; `segments` is the number of true ones, without crowds.
        """
        header = ("class", "kind", "PQ", "SQ", "RQ", "TP", "FP", "FN", "segments")
        rows = []
        for kind, numbers in self._kinds().items():
            places = {self.classes[number]: number for number in numbers}
            for name, *qualities in sorted_rows(list(places), *(of[numbers] for of in (self.pq, self.sq, self.rq))):
                right, false, missed = self.counts[places[name]].tolist()
                rows.append((name, kind, *qualities, *map(str, (right, false, missed, right + missed))))
        return [header, *rows]

    def _kinds(self) -> dict[str, list[int]]:
        things = set(self.things)
        numbers = range(len(self.classes))
        return {"thing": sorted(things), "stuff": [number for number in numbers if number not in things]}

    @property
    def _present(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.counts.any(1))

    def _per_segment(self, values: npt.NDArray[Any]) -> Values:
        """Divide by TP + FP/2 + FN/2."""
        total = self.counts @ np.array([1.0, 0.5, 0.5])
        return np.where(self._present, values / np.where(self._present, total, 1.0), np.nan)
