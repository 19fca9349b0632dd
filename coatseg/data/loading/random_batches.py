"""Images and truths of no dataset, for a model that is to be measured."""

from __future__ import annotations

import torch

from coatseg.data.annotations.classes import generated_palette
from coatseg.structures import Batch, DatasetInfo, InstanceTarget, Size, Target

OBJECTS = 8
"""How many objects an image has."""


def random_info(classes: int, channels: int) -> DatasetInfo:
    """Make the facts of data that is not there: truths of all kinds, and classes that are all things."""
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
    """Make `count` random images, always the same, with a truth of the kind that a task `needs`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.randn(count, info.channels, *size)
        targets = tuple(random_target(info, needs, size) for _ in range(count))
    ids = tuple(f"random {number}" for number in range(count))
    return Batch(images, (size,) * count, targets, ids, (size,) * count, (False,) * count, targets)


def random_target(info: DatasetInfo, needs: str, size: Size) -> Target:
    """Make the truth of an image: labels of pixels, or rectangular objects of four tenths of its sides."""
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
