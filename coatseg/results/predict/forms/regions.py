"""What predictions of every kind have in common for other tools: regions of a class, with a mask or a box."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.id_maps import objects_of
from coatseg.errors import ConfigError, nearest
from coatseg.results.predict.canvas import LabelMap, Layers, Written
from coatseg.structures import DatasetInfo, InstancePrediction, PanopticPrediction, Pixels, Size

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]
NOTHING = -1
"""The label of a region whose pixels have no class."""
MAPS: Mapping[type, str] = {LabelMap: "labels", Layers: "layers", PanopticPrediction: "ids"}
"""For each type of what is written that has a value a pixel, the field of these."""


@dataclass(frozen=True)
class Region:
    """One object or segment, or all pixels of a class: its class number, its box (x1, y1, x2, y2) and its mask.

    The mask (h, w) is cut to the box, whose coordinates are whole numbers then; it is None for an object that is a box
    alone. `score` is None for classes of pixels.
    """

    label: int
    box: Box
    mask: Mask | None
    score: float | None = None

    def whole_mask(self, size: Size) -> Mask:
        """Return the mask (H, W) in an image of this size."""
        assert self.mask is not None
        left, top = int(self.box[0]), int(self.box[1])
        whole = np.zeros(size, bool)
        whole[top : top + self.mask.shape[0], left : left + self.mask.shape[1]] = self.mask
        return whole


def regions_of(written: Written, info: DatasetInfo) -> Iterator[Region]:
    """Yield the objects or segments of a prediction, the surest first, or of label maps and layers each class in them.

    Pixels without a class are left out, and so are masks without a pixel.
    """
    yield from _REGIONS[type(written)](written, info)


def region_without_class(written: Written, info: DatasetInfo) -> Region | None:
    """Return the pixels of a label map without a class, or of none of the segments, with the label NOTHING.

    It is None if there are none, as in objects and layers, which say nothing of what they are not.
    """
    mask = _WITHOUT[type(written)](written, info) if type(written) in _WITHOUT else None
    return None if mask is None or not mask.any() else _cut(NOTHING, mask)


def size_of(written: Written) -> Size:
    """Return the (height, width) of the image that was predicted."""
    if isinstance(written, InstancePrediction):
        return written.size
    height, width = getattr(written, MAPS[type(written)]).shape[-2:]
    return height, width


def labels_left(info: DatasetInfo, leave_out: list[str] | None) -> frozenset[int]:
    """Return the class numbers that are written if classes of these names are left out.

    Raises:
        ConfigError: there is no such class.
    """
    for name in leave_out or ():
        if name not in info.classes:
            raise ConfigError(f"for.leave_out: there is no class {name}.", nearest(name, info.classes))
    return frozenset(label for label, name in enumerate(info.classes) if name not in (leave_out or ()))


def _of_label_map(written: LabelMap, info: DatasetInfo) -> Iterator[Region]:
    there = np.flatnonzero(np.bincount(written.labels.ravel(), minlength=1))
    for label in there[there < len(info.classes)].tolist():
        yield _cut(label, written.labels == label)


def _of_layers(written: Layers, info: DatasetInfo) -> Iterator[Region]:
    for label, layer in enumerate(written.layers):
        if layer.any():
            yield _cut(label, layer)


def _of_objects(written: InstancePrediction, info: DatasetInfo) -> Iterator[Region]:
    labels, scores = written.labels.tolist(), written.scores.tolist()
    if written.masks is None:
        for (x1, y1, x2, y2), label, score in zip(written.boxes.tolist(), labels, scores, strict=True):
            yield Region(label, (x1, y1, x2, y2), None, score)
        return
    for mask, label, score in zip(written.masks.numpy(), labels, scores, strict=True):
        if mask.any():
            yield _cut(label, mask, score)


def _of_segments(written: PanopticPrediction, info: DatasetInfo) -> Iterator[Region]:
    ids, labels, scores = written.ids.numpy(), written.labels.tolist(), written.scores.tolist()
    found, boxes = objects_of(ids)
    sides = dict(zip(found.tolist(), boxes.astype(int).tolist(), strict=True))
    for place in sorted(range(len(scores)), key=lambda place: -scores[place]):
        left, top, right, bottom = sides[place + 1]
        mask = ids[top:bottom, left:right] == place + 1
        yield Region(labels[place], (left, top, right, bottom), mask, scores[place])


def _cut(label: int, mask: Pixels, score: float | None = None) -> Region:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return Region(label, (left, top, right, bottom), mask[top:bottom, left:right], score)


_REGIONS: Mapping[type, Callable[[Any, DatasetInfo], Iterator[Region]]] = {
    LabelMap: _of_label_map,
    Layers: _of_layers,
    InstancePrediction: _of_objects,
    PanopticPrediction: _of_segments,
}

_WITHOUT: Mapping[type, Callable[[Any, DatasetInfo], Mask]] = {
    LabelMap: lambda written, info: written.labels >= len(info.classes),
    PanopticPrediction: lambda written, info: written.ids.numpy() == 0,
}
