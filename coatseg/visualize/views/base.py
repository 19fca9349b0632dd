"""The base class of views, which show people the prediction of one image and score it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from coatseg.data.images.normalization import denormalise
from coatseg.structures import Batch, DatasetInfo, Target
from coatseg.visualize.label_maps import Picture

WIDTH = 320
"""The width of a picture on a sheet, in pixels."""


class View(ABC):
    """Pictures of one image with its truth and prediction, and the score by which images are ranked."""

    captions: tuple[str, ...]
    """The captions of `pictures`: the image, its truth, its prediction, and maybe more."""

    mistakes: str
    """The caption of `mistaken`."""

    measure: str
    """The name of `score`."""

    meaning: str
    """The definition of `score`, in words that can follow "by"."""

    def named(self, info: DatasetInfo) -> Sequence[int]:
        """Return the numbers of the classes that a legend names."""
        return range(len(info.classes))

    @abstractmethod
    def score(self, prediction: Any, target: Target, info: DatasetInfo) -> float:
        """Score a prediction on its image alone, higher is better; NaN where there is nothing to compare."""

    @abstractmethod
    def pictures(self, image: Picture, prediction: Any, target: Target, info: DatasetInfo) -> list[Picture]:
        """Return pictures of an image (H, W, 3) at its original size, its truth and its prediction (see `captions`)."""

    @abstractmethod
    def mistaken(self, image: Picture, prediction: Any, target: Target, info: DatasetInfo) -> Picture:
        """Return a picture that shows where the prediction is wrong; the target must have a truth."""


def original_image(batch: Batch, number: int, info: DatasetInfo) -> Picture:
    """Return an image of a batch as a picture at its original size, which is that of its truth and prediction."""
    height, width = batch.sizes[number]
    picture = denormalise(batch.images[number, :, :height, :width], info)
    if (height, width) == batch.original_sizes[number]:
        return picture
    height, width = batch.original_sizes[number]
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
