"""A sheet of a dataset's samples with their truth, to look at before training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from coatseg.data.images.normalization import denormalise, normalise
from coatseg.structures import DatasetInfo, Panoptic, Sample
from coatseg.visualize.label_maps import Picture, colour, overlay, topmost
from coatseg.visualize.objects import draw_truth
from coatseg.visualize.segments import draw_segments, places_of
from coatseg.visualize.sheets import contact_sheet, legend, scaled

WIDTH = 320


def sample_sheet(samples: Sequence[tuple[str, Sample]], info: DatasetInfo) -> Picture:
    """Lay out titled samples, one per row: the image, its labels alone and over it, its objects and its segments.

    All samples have the same kinds of truth. A legend below names the classes that they show.
    """
    shown = [(title, _pictures(sample, info)) for title, sample in samples]
    captions = list(shown[0][1])
    blocks = 1 if len(captions) > 2 else 2  # side by side, where a sheet would be a narrow strip
    rows = -(-len(shown) // blocks)
    parts = [shown[begin : begin + rows] for begin in range(0, len(shown), rows)]
    sheets = [
        contact_sheet([list(row.values()) for _, row in part], captions, WIDTH, [title for title, _ in part])
        for part in parts
    ]
    height = max(len(sheet) for sheet in sheets)
    filled = [np.pad(sheet, ((0, height - len(sheet)), (0, 0), (0, 0)), constant_values=255) for sheet in sheets]
    sheet = np.concatenate(filled, axis=1)
    seen = sorted(set().union(*(_classes(sample, info) for _, sample in samples)))
    return np.concatenate([sheet, legend(info, sheet.shape[1], seen)])


def _pictures(sample: Sample, info: DatasetInfo) -> dict[str, Picture]:
    image = denormalise(normalise(sample.image, info), info)
    pictures = {"image": scaled(image, WIDTH)}
    labels = sample.label_map
    if sample.layers is not None:
        labels = topmost(sample.layers.transpose(2, 0, 1), info)
    if labels is not None:
        pictures |= {"classes": colour(labels, info), "classes over image": overlay(image, labels, info)}
    if (objects := sample.instances) is not None:
        pictures["objects"] = draw_truth(
            image, objects.boxes, objects.labels, objects.crowd, objects.masks, info, WIDTH
        )
    if sample.panoptic is not None:
        pictures["segments"] = _segments(image, sample.panoptic, info)
    return pictures


def _segments(image: Picture, truth: Panoptic, info: DatasetInfo) -> Picture:
    places = places_of(truth.ids, np.array([segment.id for segment in truth.segments], dtype=np.int64))
    labels = [segment.label for segment in truth.segments]
    return draw_segments(image, places, labels, info, WIDTH, [segment.crowd for segment in truth.segments])


def _classes(sample: Sample, info: DatasetInfo) -> set[int]:
    """Return the classes of a sample for the legend; none for objects of a single class, which have any colour."""
    seen: set[int] = set()
    if sample.label_map is not None:
        seen |= set(np.unique(sample.label_map).tolist()) - {info.ignore_index}
    if sample.layers is not None:
        seen |= set(np.flatnonzero((sample.layers == 1).any((0, 1))).tolist())
    if sample.instances is not None and len(info.things) > 1:
        seen |= set(sample.instances.labels.tolist())
    if sample.panoptic is not None:
        seen |= {segment.label for segment in sample.panoptic.segments}
    return seen
