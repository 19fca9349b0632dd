"""Pictures of predictions drawn over their images, at a size for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from coatseg.data.images.normalization import denormalise, normalise
from coatseg.data.images.raster import Window
from coatseg.data.images.resizing import resize_image
from coatseg.metrics.matching import LEAST_SCORE
from coatseg.results.predict.canvas import LabelMap, Layers, Written
from coatseg.results.predict.opened_image import OpenedImage
from coatseg.structures import DatasetInfo, InstancePrediction, PanopticPrediction, Pixels
from coatseg.visualize.label_maps import Picture, overlay, topmost
from coatseg.visualize.objects import draw_objects, names, shades
from coatseg.visualize.segments import draw_segments

LONGEST = 2048
"""Pixels of a picture's longer side; larger images are shrunk by a whole factor."""
ROWS = 1024
"""About as many rows of a large image are read at once."""


def picture_of(written: Written, image: OpenedImage, info: DatasetInfo) -> Picture:
    """Draw a prediction over its image: RGB, not more than LONGEST pixels high or wide."""
    factor = -(-max(image.size) // LONGEST)
    return DRAWINGS[type(written)](written, image, info, factor)


def shown(image: OpenedImage, info: DatasetInfo, factor: int) -> Picture:
    """Return an image as a picture, shrunk by a whole factor: the mean of factor x factor pixels, a band at a time."""
    height, width = (max(1, length // factor) for length in image.size)
    picture = np.empty((height, width, 3), np.uint8)
    step = max(1, ROWS // factor)
    for top in range(0, height, step):
        rows = min(step, height - top)
        band = image.read(
            Window(top * factor, 0, min(rows * factor, image.size[0]), min(width * factor, image.size[1]))
        )
        picture[top : top + rows] = denormalise(normalise(resize_image(band, (rows, width)), info), info)
    return picture


def _label_map(written: LabelMap, image: OpenedImage, info: DatasetInfo, factor: int) -> Picture:
    return overlay(shown(image, info, factor), _thinned(written.labels, factor), info)


def _layers(written: Layers, image: OpenedImage, info: DatasetInfo, factor: int) -> Picture:
    return overlay(shown(image, info, factor), topmost(_thinned(written.layers, factor), info), info)


def _objects(written: InstancePrediction, image: OpenedImage, info: DatasetInfo, factor: int) -> Picture:
    kept = torch.nonzero(written.scores >= LEAST_SCORE).flatten()
    labels, scores = written.labels[kept].tolist(), written.scores[kept].tolist()
    texts = [f"{names(info)[label]} {score:.2f}".strip() for label, score in zip(labels, scores, strict=True)]
    picture = shown(image, info, factor)
    masks = None if written.masks is None else _thinned(written.masks.numpy(), factor)[kept.numpy()]
    boxes = written.boxes[kept].numpy() / factor
    return draw_objects(picture, boxes, masks, shades(labels, info), texts, picture.shape[1])


def _segments(written: PanopticPrediction, image: OpenedImage, info: DatasetInfo, factor: int) -> Picture:
    ids = _thinned(written.ids.numpy(), factor)
    return draw_segments(shown(image, info, factor), ids, written.labels.tolist(), info)


def _thinned(maps: Pixels, factor: int) -> Pixels:
    """Take every so many pixels of maps (..., H, W), from the middle of what a pixel of the picture shows."""
    rows, columns = (slice(min(factor // 2, length - 1), length, factor) for length in maps.shape[-2:])
    height, width = (max(1, length // factor) for length in maps.shape[-2:])
    return maps[..., rows, columns][..., :height, :width]


DRAWINGS: Mapping[type, Callable[[Any, OpenedImage, DatasetInfo, int], Picture]] = {
    LabelMap: _label_map,
    Layers: _layers,
    InstancePrediction: _objects,
    PanopticPrediction: _segments,
}
"""For each type of what is written, the function that draws it over its image, shrunk by a whole factor."""
