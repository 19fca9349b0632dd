"""Random images and truths, to measure a model without a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from coatseg.data.annotations.classes import generated_palette
from coatseg.structures import (
    LOGITS,
    PREDICTION_KINDS,
    Batch,
    DatasetInfo,
    InstanceTarget,
    PanopticTarget,
    Size,
    Target,
)

OBJECTS = 8
"""The number of objects in each random image."""

CLASSES: Mapping[str, int] = {LOGITS: 19, "boxes": 80, "masks": 80, "segments": 133}
"""How many classes random data has for each output of a head: as many as Cityscapes, COCO, and COCO panoptic."""


def random_info(classes: int, channels: int, output: str = LOGITS) -> DatasetInfo:
    """Return the facts of random data for heads of an output: truths of all kinds, and classes that are all things.

    For segments two in five classes, the last ones, are stuff, as in COCO panoptic.
    """
    stuff = classes * 2 // 5 if output == "segments" else 0
    return DatasetInfo(
        name="random",
        classes=tuple(f"class {number}" for number in range(classes)),
        palette=generated_palette(classes),
        annotates=frozenset(kind.truth for kind in PREDICTION_KINDS),
        ignore_index=max(255, classes),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        things=tuple(range(classes - stuff)),
    )


def random_batch(info: DatasetInfo, needs: str, count: int, size: Size) -> Batch:
    """Return a batch of `count` random images, always the same, with the truth that a task `needs`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.randn(count, info.channels, *size)
        targets = tuple(random_target(info, needs, size) for _ in range(count))
    ids = tuple(f"random {number}" for number in range(count))
    return Batch(images, (size,) * count, targets, ids, (size,) * count, (False,) * count, targets)


def random_target(info: DatasetInfo, needs: str, size: Size) -> Target:
    """Return the random truth of an image; for a truth that a user's own task needs, boxes."""
    return TRUTHS.get(needs, _boxes)(info, size)


def _label_map(info: DatasetInfo, size: Size) -> Target:
    return Target(label_map=torch.randint(len(info.classes), size))


def _layers(info: DatasetInfo, size: Size) -> Target:
    return Target(layers=torch.randint(2, (len(info.classes), *size), dtype=torch.uint8))


def _boxes(info: DatasetInfo, size: Size) -> Target:
    return Target(instances=_objects(info, size))


def _masks(info: DatasetInfo, size: Size) -> Target:
    objects = _objects(info, size)
    masks = torch.zeros(OBJECTS, *size, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, objects.boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    return Target(instances=replace(objects, masks=masks))


def _segments(info: DatasetInfo, size: Size) -> Target:
    """Return bands of stuff or things, from left to right, one of each class."""
    count = len(info.classes)
    numbers = torch.arange(1, count + 1, dtype=torch.int32)
    columns = torch.arange(size[1]) * count // size[1]
    ids = numbers[columns].expand(size).contiguous()
    there = numbers[: int(columns.max()) + 1]
    labels = torch.randperm(count)[: len(there)]
    return Target(panoptic=PanopticTarget(ids, there, labels, torch.zeros(len(there), dtype=torch.bool)))


def _objects(info: DatasetInfo, size: Size) -> InstanceTarget:
    """Return objects of 0.4 times the sides of an image, without masks."""
    sides = torch.tensor([size[1], size[0]])
    corners = torch.rand(OBJECTS, 2) * 0.5 * sides
    boxes = torch.cat([corners, corners + 0.4 * sides], 1).round()
    labels, crowd = torch.randint(len(info.classes), (OBJECTS,)), torch.zeros(OBJECTS, dtype=torch.bool)
    return InstanceTarget(boxes.double(), labels, None, crowd)


TRUTHS: Mapping[str, Callable[[DatasetInfo, Size], Target]] = {
    "semantic": _label_map,
    "multilabel": _layers,
    "boxes": _boxes,
    "instances": _masks,
    "panoptic": _segments,
}
"""For each truth that a task may need, the function that makes a random one for an image of a size."""
