"""Label maps as pictures: in the colours of the palette, blended with their image, and with their mistakes marked."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.structures import DatasetInfo

Picture = npt.NDArray[np.uint8]
"""An RGB image (H, W, 3) of uint8."""

WHITE = (255, 255, 255)
BLACK = (0, 0, 0)
RED = (225, 30, 30)


def colour(label_map: npt.NDArray[np.integer], info: DatasetInfo) -> Picture:
    """Return a label map (H, W) in the colours of the palette, (H, W, 3) RGB; ignored pixels are black."""
    table = np.zeros((max(info.ignore_index, len(info.palette) - 1) + 1, 3), dtype=np.uint8)
    table[: len(info.palette)] = info.palette
    if info.ignore_index >= len(info.palette):
        table[info.ignore_index] = BLACK
    painted: Picture = table[label_map]
    return painted


def topmost(layers: npt.NDArray[np.integer | np.bool_], info: DatasetInfo) -> npt.NDArray[np.int64]:
    """Flatten layers (K, H, W) to a label map (H, W): later classes over earlier ones, ignored where there is none."""
    label_map = np.full(layers.shape[1:], info.ignore_index)
    for number, layer in enumerate(layers):
        label_map[layer == 1] = number
    return label_map


def overlay(image: Picture, label_map: npt.NDArray[np.integer], info: DatasetInfo, opacity: float = 0.5) -> Picture:
    """Blend an RGB image with its coloured label map; ignored pixels show the image."""
    painted = cv2.addWeighted(image, 1 - opacity, colour(label_map, info), opacity, 0)
    painted[label_map == info.ignore_index] = image[label_map == info.ignore_index]
    return np.asarray(painted, dtype=np.uint8)


def mistakes(image: Picture, wrong: npt.NDArray[np.bool_], ignored: npt.NDArray[np.bool_]) -> Picture:
    """Tint the wrong pixels (H, W) of an RGB image red and the others pale grey; ignored pixels are black."""
    pale = faded(image)
    red = cv2.addWeighted(_grey(image), 0.4, np.full_like(image, RED), 0.6, 0)
    marked: Picture = np.where(wrong[..., None], red, pale).astype(np.uint8)
    marked[ignored] = BLACK
    return marked


def faded(image: Picture) -> Picture:
    """Return an RGB image in pale grey, so that what is drawn over it stands out."""
    return np.asarray(cv2.addWeighted(_grey(image), 0.4, np.full_like(image, WHITE), 0.6, 0), dtype=np.uint8)


def _grey(image: Picture) -> Picture:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), dtype=np.uint8)
