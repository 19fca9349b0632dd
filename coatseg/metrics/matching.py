"""Match the detections of one image with its true objects, to show in pictures which are right, false or missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.metrics.coco_format import encode
from coatseg.structures import InstancePrediction, InstanceTarget

LEAST_SCORE = 0.3
"""The least score of a detection that is considered."""

LEAST_IOU = 0.5
"""The least IoU at which a detection matches an object of its class."""


@dataclass(frozen=True)
class Matches:
    """Marks detections (N,) that are right and that are false alarms, and true objects (M,) that are missed.

    Detections below the least score, and those in a crowd, are neither right nor false.
    """

    right: npt.NDArray[np.bool_]
    false: npt.NDArray[np.bool_]
    missed: npt.NDArray[np.bool_]

    @property
    def f1(self) -> float:
        """2 right / (2 right + false + missed); NaN where there are no objects and no detections."""
        errors = int(self.false.sum()) + int(self.missed.sum())
        doubled = 2 * int(self.right.sum())
        return doubled / (doubled + errors) if doubled + errors else float("nan")


def match(
    prediction: InstancePrediction,
    truth: InstanceTarget,
    least_score: float = LEAST_SCORE,
    least_iou: float = LEAST_IOU,
) -> Matches:
    """Match each detection, highest score first, with the free object of its class with which it has the largest IoU.

    Masks are compared where both sides have them, else boxes. A detection of which a share of at least `least_iou` lies
    in a crowd of its class is ignored.
    """
    from faster_coco_eval.core import mask as coco

    masks = prediction.masks is not None and truth.masks is not None
    detected, true = encode(prediction, masks), encode(truth, masks)
    scores, crowd = prediction.scores.cpu().numpy(), truth.crowd.cpu().numpy().astype(bool)
    right, false = np.zeros(len(detected), bool), np.zeros(len(detected), bool)
    free = ~crowd
    seen = np.flatnonzero(scores >= least_score)
    seen = seen[np.argsort(-scores[seen], kind="stable")]
    shapes: tuple[Any, Any] = (detected.masks, true.masks) if masks else (detected.boxes, true.boxes)
    shared = np.zeros((len(seen), len(true)))
    if shared.size:
        chosen = [shapes[0][number] for number in seen]
        shared = np.asarray(coco.iou(chosen, list(shapes[1]), crowd.astype(int).tolist())).reshape(shared.shape)
    for number, row in zip(seen, shared, strict=True):
        candidates = np.where(true.labels == detected.labels[number], row, 0)
        best = int(np.argmax(np.where(free, candidates, -1))) if free.any() else -1
        if best >= 0 and candidates[best] >= least_iou:
            right[number], free[best] = True, False
        else:
            false[number] = not (candidates[crowd] >= least_iou).any()
    return Matches(right, false, free)
