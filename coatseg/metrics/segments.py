"""Match the predicted segments of one image with its true ones, as panoptic quality counts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from coatseg.structures import PanopticPrediction, PanopticTarget

Counts = npt.NDArray[np.int64]

LEAST_IOU = 0.5
"""A segment is found with an IoU of more than this; then no other can match it too."""

NOTHING, UNLISTED = -1, -2
"""Instead of a segment's place: no segment, which is void in the truth; an id that the truth does not list."""


@dataclass(frozen=True)
class SegmentMatches:
    """What the N predicted and the M true segments of an image count as.

    `iou` (N,) float64 is the IoU of a right segment with the true one that it matches, 0 for others; `false` (N,) marks
    false positives, `found` and `missed` (M,) true segments. Predicted segments that are neither right nor false lie
    for the most part where nothing is known; true ones that are neither found nor missed are crowds.
    """

    iou: npt.NDArray[np.float64]
    false: npt.NDArray[np.bool_]
    found: npt.NDArray[np.bool_]
    missed: npt.NDArray[np.bool_]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """The predicted segments (N,) that match a true one."""
        return self.iou > 0


def match_segments(prediction: PanopticPrediction, truth: PanopticTarget) -> SegmentMatches:
    """Match segments of one class with an IoU of more than 0.5: there can be only one such partner.

    The rules are panopticapi's (Kirillov et al., "Panoptic Segmentation", 2019, section 4). A predicted segment's
    pixels on void are left out of the union. A crowd is never found nor missed. A predicted segment without a partner
    is no false positive if more than half of it lies on void and on the crowd of its class, the last one listed if
    there are several. Void of the prediction is a miss like any other. Areas are counted in the id maps. Pixels of an
    id that the truth does not list belong to no segment, and are not void.

    Raises:
        ValueError: the id maps differ in size, or the prediction's ids and its list of segments do not fit.
    """
    shared = _shared(prediction, truth)
    labels, true_labels, crowd = (_array(part) for part in (prediction.labels, truth.labels, truth.crowd))
    crowds = {label: place for place, label in enumerate(true_labels.tolist()) if crowd[place]}  # the last of each
    of_class = np.array([crowds.get(label, NOTHING) for label in labels.tolist()], np.int64)
    areas = shared.pixels_of(shared.predicted, len(labels))
    void = shared.pixels_of(shared.predicted, len(labels), shared.true == NOTHING)
    if not areas.all():
        raise ValueError(f"{prediction.id}: the predicted segment {1 + int(areas.argmin())} has no pixel")
    true_areas = shared.pixels_of(shared.true, len(true_labels))

    pair = np.flatnonzero((shared.true >= 0) & (shared.predicted >= 0))
    one, other, both = shared.predicted[pair], shared.true[pair], shared.pixels[pair]
    in_crowd = both * (of_class[one] == other)
    iou = both / (areas[one] - void[one] + true_areas[other] - both)
    match = (iou > LEAST_IOU) & (labels[one] == true_labels[other]) & ~crowd[other]
    matched, found = np.zeros(len(labels)), np.zeros(len(true_labels), bool)
    matched[one[match]], found[other[match]] = iou[match], True
    forgiven = void + np.bincount(one, in_crowd, len(labels))
    return SegmentMatches(
        iou=matched, false=(matched == 0) & (forgiven <= areas / 2), found=found, missed=~found & ~crowd
    )


@dataclass(frozen=True)
class _Shared:
    """The pixels that segments share: of K pairs, the places of both in their lists, or NOTHING, UNLISTED."""

    predicted: Counts
    true: Counts
    pixels: Counts

    def pixels_of(self, places: Counts, segments: int, chosen: npt.NDArray[np.bool_] | None = None) -> Counts:
        """Return the pixels (segments,) of the segments at `places` (K,), or of them in `chosen` (K,) pairs."""
        counted = places >= 0 if chosen is None else (places >= 0) & chosen
        return np.bincount(places[counted], self.pixels[counted], segments).astype(np.int64)


def _shared(prediction: PanopticPrediction, truth: PanopticTarget) -> _Shared:
    if prediction.ids.shape != truth.ids.shape:
        sizes = " and ".join(str(tuple(ids.shape)) for ids in (prediction.ids, truth.ids))
        raise ValueError(f"{prediction.id}: the id maps of prediction and truth differ in size: {sizes}")
    largest = int(prediction.ids.max())
    if largest > len(prediction):
        raise ValueError(f"{prediction.id}: the prediction has ids up to {largest}, with {len(prediction)} segments")
    columns = len(prediction) + 1
    both = (_array(truth.ids).astype(np.int64) * columns + _array(prediction.ids)).ravel()
    # Runs of equal pairs are sorted, which are far fewer than the pixels.
    begins = np.flatnonzero(np.concatenate([[True], both[1:] != both[:-1]]))
    pairs, run = np.unique(both[begins], return_inverse=True)
    pixels = np.bincount(run, np.diff(begins, append=both.size)).astype(np.int64)
    return _Shared(pairs % columns - 1, _places(pairs // columns, _array(truth.numbers)), pixels)


def _places(ids: Counts, numbers: Counts) -> Counts:
    """Return the places of ids in a list of numbers; NOTHING for 0, UNLISTED for others that are not in it."""
    known = np.concatenate([[0], numbers])
    order = np.argsort(known, kind="stable")
    at = order[np.searchsorted(known, ids, sorter=order).clip(max=len(known) - 1)]
    return np.where(known[at] == ids, at - 1, UNLISTED)


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    return np.asarray(tensor.cpu().numpy())
