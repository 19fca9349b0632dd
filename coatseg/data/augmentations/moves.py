"""What most augmentations are made of: images and all their labels resized, and cut to a window."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import albumentations as alb
import numpy as np
from albumentations.core.type_definitions import Targets

from coatseg.data.images.pixels import PIXEL_RANGE, Pixels
from coatseg.data.images.resizing import resize_image, resize_labels
from coatseg.structures import DatasetInfo, Size


class Move(Protocol):
    """One move of an image and its labels."""

    @property
    def size(self) -> Size:
        """The image's size afterwards."""
        ...

    def image(self, pixels: Pixels, fill: Any) -> Pixels:
        """Move an image (H, W, C); `fill` is the colour of what is added."""
        ...

    def labels(self, labels: Pixels, fill: int) -> Pixels:
        """Move labels (H, W) or (H, W, K); `fill` is the label of what is added."""
        ...

    def boxes(self, boxes: Pixels, before: Size) -> Pixels:
        """Move boxes (N, 4) in shares of the image's sides, which were `before`."""
        ...


@dataclass(frozen=True)
class Resized:
    """Resized to a size."""

    size: Size

    def image(self, pixels: Pixels, fill: Any) -> Pixels:
        """Average over areas or interpolate."""
        return resize_image(pixels, self.size)

    def labels(self, labels: Pixels, fill: int) -> Pixels:
        """Take the nearest label."""
        return resize_labels(labels, self.size)

    def boxes(self, boxes: Pixels, before: Size) -> Pixels:
        """Give the boxes: in shares they stay where they are."""
        return boxes


@dataclass(frozen=True)
class Cut:
    """Cut to the window of `size` at `corner` (y, x), which is padded at the bottom and right where nothing is."""

    corner: tuple[int, int]
    size: Size

    def image(self, pixels: Pixels, fill: Any) -> Pixels:
        """Cut an image."""
        return self.labels(pixels, fill)

    def labels(self, labels: Pixels, fill: Any) -> Pixels:
        """Cut labels."""
        window = self.window(labels)
        height, width = window.shape[:2]
        if (height, width) == self.size:
            return window
        padded = np.empty((*self.size, *window.shape[2:]), window.dtype)
        padded[:height, :width] = window
        padded[height:] = fill
        padded[:height, width:] = fill
        return padded

    def boxes(self, boxes: Pixels, before: Size) -> Pixels:
        """Shift the boxes, which may then reach beyond the window."""
        (height, width), (y, x) = before, self.corner
        moved = boxes.copy()
        moved[:, [0, 2]] = (boxes[:, [0, 2]] * width - x) / self.size[1]
        moved[:, [1, 3]] = (boxes[:, [1, 3]] * height - y) / self.size[0]
        return moved

    def window(self, array: Pixels) -> Pixels:
        """Give what there is of the window."""
        y, x = self.corner
        return array[y : y + self.size[0], x : x + self.size[1]]


def random_cut(have: Size, want: Size, random: Random) -> Cut:
    """Draw a window of a size evenly from all that lie in an image, from its corner where the image is smaller."""
    y, x = (random.randint(0, max(0, side - cut)) for side, cut in zip(have, want, strict=True))
    return Cut((y, x), want)


class Moved(alb.DualTransform):  # type: ignore[misc]
    """A step made of moves, which `moves` draws for each sample."""

    _targets = (Targets.IMAGE, Targets.MASK, Targets.BBOXES)

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__(p=1.0)
        self.info = info

    @abstractmethod
    def moves(self, size: Size, data: Mapping[str, Any]) -> Sequence[Move]:
        """Draw the moves of a sample whose image has a size, by `self.py_random` alone."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw once for image and labels."""
        return {"moves": self.moves(params["shape"][:2], data)}

    def apply(self, img: Pixels, moves: Sequence[Move], **_: Any) -> Pixels:
        """Move the image; what is added has the mean colour."""
        mean = np.array(self.info.mean) * PIXEL_RANGE[img.dtype]
        fill = mean if img.dtype == np.float32 else mean.round()
        for move in moves:
            img = move.image(img, fill)
        return img

    def apply_to_mask(self, mask: Pixels, moves: Sequence[Move], **_: Any) -> Pixels:
        """Move a label map or layers; what is added is ignored."""
        return _moved_labels(mask, moves, self.info.ignore_index)

    def apply_to_masks(self, masks: Pixels, moves: Sequence[Move], **_: Any) -> Pixels:
        """Move id maps; nothing is where something is added."""
        return np.stack([_moved_labels(mask, moves, 0) for mask in masks])

    def apply_to_bboxes(self, bboxes: Pixels, moves: Sequence[Move], **params: Any) -> Pixels:
        """Move boxes."""
        size = params["shape"][:2]
        for move in moves:
            bboxes, size = move.boxes(bboxes, size), move.size
        return bboxes


def _moved_labels(labels: Pixels, moves: Sequence[Move], fill: int) -> Pixels:
    for move in moves:
        labels = move.labels(labels, fill)
    return labels
