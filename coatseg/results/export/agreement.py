"""Compare an exported file with the model: by the differences of outputs, and by the decisions taken from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coatseg.models.heads.base import Segments
from coatseg.models.heads.panoptic.maps import PanopticMaps
from coatseg.structures import LOGITS, MultilabelPrediction, SemanticPrediction, Size
from coatseg.tasks.base import Task

LEAST_ALIKE = 0.9999
"""The least share of pixels that must get the same classes, or belong to the same segments."""
LEAST_MATCHED = 0.99
"""The least share of objects that need a match: of two boxes with the same score to a rounding, either may be kept."""
MOST_LOGITS = 1e-3
"""The largest difference allowed between logits, or other maps, as a share of the largest of them."""
MOST_PIXELS = 1e-3
"""The largest difference allowed between the edges of matched boxes, in pixels."""
MOST_PROBABILITY = 1e-3
"""The largest difference allowed between scores and masks of matched objects."""

CLASSES: Mapping[type, str] = {SemanticPrediction: "label_map", MultilabelPrediction: "layers"}
"""For each type of prediction that is decoded from logits, the field with the classes of its pixels."""


@dataclass(frozen=True)
class Agreement:
    """How well the outputs for one batch agree.

    `difference` is the largest of all numbers compared: of logits and other maps, as a share of the largest in each; of
    matched objects, in boxes (pixels), scores and masks. `alike` is the share of pixels with the same classes or in the
    same segments, or of objects with a match; `compared` is the number of pixels or objects, on the side that has more.
    """

    size: Size
    difference: float
    alike: float
    compared: int
    good: bool


def agreement(task: Task, size: Size, ours: Sequence[Tensor], found: Sequence[Tensor]) -> Agreement:
    """Return how well the outputs of a task's graph, `ours`, agree with a file's, `found`, for images of a size."""
    return comparison_of(task).compare(task, size, ours, found)


def unit(task: Task) -> str:
    """Return the name of what the share that agrees is one of."""
    return comparison_of(task).unit


def tolerances(task: Task) -> dict[str, float]:
    """Return what may differ, by name."""
    return dict(comparison_of(task).tolerances)


def _of_pixels(task: Any, size: Size, ours: Sequence[Tensor], found: Sequence[Tensor]) -> Agreement:
    """Compare the logits of a dense task, and the classes that it decodes from them."""
    (mine,), (other,) = ours, found
    if mine.shape != other.shape or not other.isfinite().all():
        return Agreement(size, torch.inf, 0.0, mine[:, 0].numel(), good=False)
    difference = _difference(mine, other)
    pairs = [
        (_classes(task.decode(row, "")), _classes(task.decode(its, ""))) for row, its in zip(mine, other, strict=True)
    ]
    same = torch.cat([(one == another).flatten() for one, another in pairs])
    alike = float(same.double().mean())
    return Agreement(size, difference, alike, same.numel(), difference <= MOST_LOGITS and alike >= LEAST_ALIKE)


def _classes(prediction: SemanticPrediction | MultilabelPrediction) -> Tensor:
    classes: Tensor = getattr(prediction, CLASSES[type(prediction)])
    return classes


def _of_objects(task: Any, size: Size, ours: Sequence[Tensor], found: Sequence[Tensor]) -> Agreement:
    """Return how well detections agree; every object is matched with the nearest unmatched one of its class."""
    compared = max(len(ours[0]), len(found[0]))
    if not compared:
        return Agreement(size, 0.0, 1.0, 0, good=True)
    if not (len(ours[0]) and len(found[0])):
        return Agreement(size, torch.inf, 0.0, compared, good=False)
    distances = (ours[0][:, None] - found[0][None]).abs().amax(-1)
    distances = distances.masked_fill(ours[1][:, None] != found[1][None], torch.inf)
    matched, largest = 0, 0.0
    for place in range(len(distances)):
        partner = int(distances[place].argmin())
        apart = float(distances[place, partner])
        others = [
            float((mine[place] - other[partner]).abs().max()) for mine, other in zip(ours[2:], found[2:], strict=True)
        ]
        if apart <= MOST_PIXELS and max(others) <= MOST_PROBABILITY:
            matched, largest = matched + 1, max(largest, apart, *others)
            distances[:, partner] = torch.inf
    alike = matched / compared
    return Agreement(size, largest, alike, compared, alike >= LEAST_MATCHED)


def _of_segments(task: Any, size: Size, ours: Sequence[Tensor], found: Sequence[Tensor]) -> Agreement:
    """Compare the maps that segments are merged of, and the segments."""
    compared = ours[0][:, 0].numel()
    alike_in_shape = [mine.shape for mine in ours] == [other.shape for other in found]
    if not alike_in_shape or not all(other.isfinite().all() for other in found):
        return Agreement(size, torch.inf, 0.0, compared, good=False)
    difference = max(_difference(mine, other) for mine, other in zip(ours, found, strict=True))
    both = (task.model.head.found(PanopticMaps(*maps)) for maps in (ours, found))
    pairs = [[merged.segments(size, size) for merged in pair] for pair in zip(*both, strict=True)]
    alike = float(torch.stack([same_segments(*pair) for pair in pairs]).double().mean())
    return Agreement(size, difference, alike, compared, difference <= MOST_LOGITS and alike >= LEAST_ALIKE)


def same_segments(one: Segments, other: Segments) -> Tensor:
    """Mark the pixels (H, W) whose segments have one class and most pixels in common, or that are void in both."""
    shape = len(one.labels) + 1, len(other.labels) + 1
    mine, others = one.ids.long(), other.ids.long()
    shared = torch.bincount((mine * shape[1] + others).flatten(), minlength=shape[0] * shape[1]).view(shape)
    shared[0], shared[:, 0] = 0, 0
    partners = (shared.argmax(1)[mine] == others) & (shared.argmax(0)[others] == mine) & (mine > 0) & (others > 0)
    classes = [torch.cat([segments.labels.new_tensor([-1]), segments.labels]) for segments in (one, other)]
    return torch.where(mine + others == 0, True, partners & (classes[0][mine] == classes[1][others]))


def _difference(mine: Tensor, other: Tensor) -> float:
    """Return the largest difference of numbers, as a share of the largest."""
    return float((mine - other).abs().max() / mine.abs().max().clamp_min(torch.finfo(mine.dtype).tiny))


@dataclass(frozen=True)
class Comparison:
    """How the outputs of one kind of head are compared.

    `unit` is what is counted, `tolerances` are what may differ and by how much, in words; `compare` is called as
    `agreement` is.
    """

    unit: str
    tolerances: Mapping[str, float]
    compare: Callable[[Any, Size, Sequence[Tensor], Sequence[Tensor]], Agreement]


_PIXELS = Comparison(
    "pixels", {"logits, as a share of the largest": MOST_LOGITS, "share of pixels": LEAST_ALIKE}, _of_pixels
)
_OBJECTS = Comparison(
    "objects",
    {"box edges in pixels": MOST_PIXELS, "scores and masks": MOST_PROBABILITY, "share of objects": LEAST_MATCHED},
    _of_objects,
)
_SEGMENTS = Comparison(
    "pixels",
    {"maps, as a share of the largest": MOST_LOGITS, "share of pixels in the same segments": LEAST_ALIKE},
    _of_segments,
)
COMPARISONS: Mapping[str, Comparison] = {
    LOGITS: _PIXELS,
    "boxes": _OBJECTS,
    "masks": _OBJECTS,
    "segments": _SEGMENTS,
}
"""For each output of a head, how it is compared."""


def comparison_of(task: Task) -> Comparison:
    """Return how the outputs of a task's graph are compared: of a user's own kind, as objects."""
    return COMPARISONS.get(task.takes, _OBJECTS)
