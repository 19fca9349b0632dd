"""Random images and truths, to measure a model without a dataset."""

from __future__ import annotations

import torch

from coatseg.data.annotations.classes import generated_palette
from coatseg.structures import Batch, DatasetInfo, InstanceTarget, Size, Target

OBJECTS = 8
"""The number of objects in each random image."""


def random_info(classes: int, channels: int) -> DatasetInfo:
    """Return the facts of random data: truths of all kinds, and classes that are all things."""
    return DatasetInfo(
        name="random",
        classes=tuple(f"class {number}" for number in range(classes)),
        palette=generated_palette(classes),
        annotates=frozenset({"semantic", "multilabel", "boxes", "instances"}),
        ignore_index=max(255, classes),
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        things=tuple(range(classes)),
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
    """Return the random truth of an image: labels of pixels, or rectangular objects of 0.4 times its sides."""
    classes = len(info.classes)
    if needs == "semantic":
        return Target(label_map=torch.randint(classes, size))
    if needs == "multilabel":
        return Target(layers=torch.randint(2, (classes, *size), dtype=torch.uint8))
    sides = torch.tensor([size[1], size[0]])
    corners = torch.rand(OBJECTS, 2) * 0.5 * sides
    boxes = torch.cat([corners, corners + 0.4 * sides], 1).round()
    masks = None
    if needs == "instances":
        masks = torch.zeros(OBJECTS, *size, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = True
    labels, crowd = torch.randint(classes, (OBJECTS,)), torch.zeros(OBJECTS, dtype=torch.bool)
    return Target(instances=InstanceTarget(boxes, labels, masks, crowd))
