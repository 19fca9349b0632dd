"""What every kind of prediction offers to people who look at it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from coatseg.data.images.pixels import denormalise
from coatseg.structures import Batch, DatasetInfo, Target
from coatseg.visualize.label_maps import Picture

WIDTH = 320
"""The width of a picture on a sheet, in pixels."""


class View(ABC):
    """Pictures of one image with its truth and prediction, and the measure by which images rank."""

    captions: tuple[str, ...]
    """What `pictures` shows: the image, its truth, its prediction, and maybe more."""

    mistakes: str
    """What `mistaken` shows."""

    measure: str
    """The name of `score`."""

    meaning: str
    """What `score` is, in words that follow "by"."""

    def named(self, info: DatasetInfo) -> Sequence[int]:
        """Give the numbers of the classes that a legend names."""
        return range(len(info.classes))

    @abstractmethod
    def score(self, prediction: Any, target: Target, info: DatasetInfo) -> float:
        """Score a prediction on its image alone, higher is better; NaN where there is nothing to compare."""

    @abstractmethod
    def pictures(self, image: Picture, prediction: Any, target: Target, info: DatasetInfo) -> list[Picture]:
        """Picture an image (H, W, 3) at its original size, its truth and its prediction, as `captions` name them."""

    @abstractmethod
    def mistaken(self, image: Picture, prediction: Any, target: Target, info: DatasetInfo) -> Picture:
        """Show where the prediction is wrong; the target has a truth."""


def original_image(batch: Batch, number: int, info: DatasetInfo) -> Picture:
    """Give an image of a batch as a picture at its original size, at which its truth and prediction are."""
    height, width = batch.sizes[number]
    picture = denormalise(batch.images[number, :, :height, :width], info)
    if (height, width) == batch.original_sizes[number]:
        return picture
    height, width = batch.original_sizes[number]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
