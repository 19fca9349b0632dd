"""The geometric moves of augmentations: an image and all of its labels are resized, or cut to a window."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import albumentations as alb
import numpy as np
from albumentations.core.type_definitions import Targets

from coatseg.data.images.normalization import PIXEL_RANGE
from coatseg.data.images.resizing import resize_image, resize_labels
from coatseg.structures import DatasetInfo, Pixels, Size


class Move(Protocol):
    """One geometric move of an image and its labels."""

    @property
    def size(self) -> Size:
        """The size of the image after the move."""
        ...

    def image(self, pixels: Pixels, fill: Any) -> Pixels:
        """Move an image (H, W, C); `fill` is the colour of added pixels."""
        ...

    def labels(self, labels: Pixels, fill: int) -> Pixels:
        """Move labels (H, W) or (H, W, K); `fill` is the label of added pixels."""
        ...

    def boxes(self, boxes: Pixels, before: Size) -> Pixels:
        """Move boxes (N, 4), in shares of the image's sides, which had the size `before`."""
        ...


@dataclass(frozen=True)
class Resized:
    """The move that resizes to a size."""

    size: Size

    def image(self, pixels: Pixels, fill: Any) -> Pixels:
        """Resize the image, by averaging over areas or bilinearly."""
        return resize_image(pixels, self.size)

    def labels(self, labels: Pixels, fill: int) -> Pixels:
        """Resize the labels by nearest neighbour."""
        return resize_labels(labels, self.size)

    def boxes(self, boxes: Pixels, before: Size) -> Pixels:
        """Return the boxes, which in shares of the sides do not change."""
        return boxes


@dataclass(frozen=True)
class Cut:
    """The move that cuts to the window of `size` at `corner` (y, x), padded at the bottom and right of the image."""

    corner: tuple[int, int]
    size: Size

    def image(self, pixels: Pixels, fill: Any) -> Pixels:
        """Cut the window out of an image."""
        return self.labels(pixels, fill)

    def labels(self, labels: Pixels, fill: Any) -> Pixels:
        """Cut the window out of labels."""
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
        """Shift the boxes to the window, beyond which they may then reach."""
        (height, width), (y, x) = before, self.corner
        moved = boxes.copy()
        moved[:, [0, 2]] = (boxes[:, [0, 2]] * width - x) / self.size[1]
        moved[:, [1, 3]] = (boxes[:, [1, 3]] * height - y) / self.size[0]
        return moved

    def window(self, array: Pixels) -> Pixels:
        """Return the part of the window that lies in the image, without padding."""
        y, x = self.corner
        return array[y : y + self.size[0], x : x + self.size[1]]


def random_cut(have: Size, want: Size, random: Random) -> Cut:
    """Draw a window of a size uniformly from all that lie in an image; along a side that is shorter it begins at 0."""
    y, x = (random.randint(0, max(0, side - cut)) for side, cut in zip(have, want, strict=True))
    return Cut((y, x), want)


class Moved(alb.DualTransform):  # type: ignore[misc]
    """The base class of augmentation steps made of moves, which `moves` draws for each sample."""

    _targets = (Targets.IMAGE, Targets.MASK, Targets.BBOXES)

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__(p=1.0)
        self.info = info

    @abstractmethod
    def moves(self, size: Size, data: Mapping[str, Any]) -> Sequence[Move]:
        """Draw the moves of a sample whose image has this size, using no random numbers but `self.py_random`."""

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the moves once, for image and labels alike."""
        return {"moves": self.moves(params["shape"][:2], data)}

    def apply(self, img: Pixels, moves: Sequence[Move], **_: Any) -> Pixels:
        """Move the image; added pixels have the mean colour."""
        mean = np.array(self.info.mean) * PIXEL_RANGE[img.dtype]
        fill = mean if img.dtype == np.float32 else mean.round()
        for move in moves:
            img = move.image(img, fill)
        return img

    def apply_to_mask(self, mask: Pixels, moves: Sequence[Move], **_: Any) -> Pixels:
        """Move a label map or layers; added pixels are ignored."""
        return _moved_labels(mask, moves, self.info.ignore_index)

    def apply_to_masks(self, masks: Pixels, moves: Sequence[Move], **_: Any) -> Pixels:
        """Move id maps; added pixels are background."""
        return np.stack([_moved_labels(mask, moves, 0) for mask in masks])

    def apply_to_bboxes(self, bboxes: Pixels, moves: Sequence[Move], **params: Any) -> Pixels:
        """Move boxes, which are in shares of the image's sides."""
        size = params["shape"][:2]
        for move in moves:
            bboxes, size = move.boxes(bboxes, size), move.size
        return bboxes


def _moved_labels(labels: Pixels, moves: Sequence[Move], fill: int) -> Pixels:
    for move in moves:
        labels = move.labels(labels, fill)
    return labels
