"""Random crops, which cut a window out of an image and its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import albumentations as alb
import cv2
import numpy as np

from coatseg.data.annotations.segment_maps import labels_of_segments
from coatseg.data.augmentations.checks import SECTION, PixelSize, check_range, checked_size
from coatseg.data.augmentations.moves import Cut, Moved
from coatseg.errors import ConfigError
from coatseg.registry.names import register
from coatseg.structures import DatasetInfo, Panoptic, Pixels, Size


@register("augmentation", "crop")
def random_crop(
    info: DatasetInfo, *, size: PixelSize, most_frequent: float = 0.75, tries: int = 10
) -> alb.BasicTransform:
    """Make a random crop of `size` (height, width); smaller images are padded at the bottom and right.

    Up to `tries` windows are drawn until one has more than one class, the most frequent of which covers at most
    `most_frequent` of the labelled pixels; otherwise the last one is taken. With 1.0, and for samples with layers or
    without labels of pixels, any window is taken. For a sample with a focus, windows hold a pixel of this class.

    Raises:
        ConfigError: `size` is not two positive integers, or an option is out of range.
    """
    lengths = checked_size("crop.size", size)
    check_range("crop.most_frequent", most_frequent, 0, 1)
    if tries < 1:
        raise ConfigError(f"{SECTION}.crop.tries={tries} draws no window.", "Choose 1 or more.")
    return _RandomCrop(info, lengths, most_frequent, tries)


class _RandomCrop(Moved):
    def __init__(self, info: DatasetInfo, size: Size, most_frequent: float, tries: int) -> None:
        super().__init__(info)
        self._size = size
        self._most_frequent = most_frequent
        self._tries = tries

    def moves(self, size: Size, data: Mapping[str, Any]) -> Sequence[Cut]:
        label_map = self._label_map(data)
        places = self._places_of(data.get("focus"), data.get("layers", label_map))
        for _ in range(self._tries):
            place = places[self.py_random.randrange(len(places))] if len(places) else (None, None)
            y, x = map(self._begin, size, self._size, place)
            cut = Cut((y, x), self._size)
            if label_map is None or self._is_varied(cut.window(label_map)):
                break
        return [cut]

    def _label_map(self, data: Mapping[str, Any]) -> Pixels | None:
        """Return the label map of a sample, or that of its segments if it has only these and a window depends on it."""
        matters = self._most_frequent < 1 or data.get("focus") is not None
        if "mask" in data or "ids" not in data or not matters:
            return data.get("mask")
        return labels_of_segments(Panoptic(data["ids"][0], data["segments"]), self.info.ignore_index)

    def _places_of(self, focus: int | None, labels: Pixels | None) -> Pixels:
        """Return the (row, column) of the pixels (N, 2) of which a window must hold one; none if any window will do."""
        if focus is None or labels is None:
            return np.empty((0, 2), np.int64)
        return np.argwhere(labels[..., focus] == 1 if labels.ndim == 3 else labels == focus)

    def _begin(self, have: int, want: int, held: int | None) -> int:
        """Draw where a window of `want` pixels begins along a side of `have` pixels, so that it holds pixel `held`."""
        spare = max(0, have - want)
        first, last = (0, spare) if held is None else (max(0, int(held) - want + 1), int(held))
        return int(self.py_random.randint(min(spare, first), min(spare, last)))

    def _is_varied(self, labels: Pixels) -> bool:
        if self._most_frequent >= 1:
            return True
        counts = _class_counts(labels, self.info.ignore_index)
        return bool(counts.sum() and counts.max() <= self._most_frequent * counts.sum())


def _class_counts(labels: Pixels, ignored: int) -> Pixels:
    if labels.dtype != np.uint8:
        return np.bincount(labels[labels != ignored])
    histogram = cv2.calcHist([labels], [0], None, [256], [0, 256])  # seven times as fast, but for bytes only
    counts: Pixels = histogram.astype(np.int64)
    counts[ignored : ignored + 1] = 0  # an empty slice if the ignore index is no byte
    return counts
