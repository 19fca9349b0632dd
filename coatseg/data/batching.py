"""Samples to batches: the one place where images become padded, normalised tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from coatseg.data.images import normalise
from coatseg.structures import Batch, DatasetInfo, Sample, Target


def collate(samples: Sequence[Sample], info: DatasetInfo, repeated: Sequence[bool]) -> Batch:
    """Normalise and pad samples into one batch; zeros, the mean colour, fill up at the bottom and right."""
    images = [normalise(sample.image, info) for sample in samples]
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    padded = torch.zeros(len(images), info.channels, height, width)
    for row, image in zip(padded, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = image
    targets = tuple(target_of(sample) for sample in samples)
    return Batch(
        images=padded,
        sizes=tuple((image.shape[1], image.shape[2]) for image in images),
        targets=targets,
        ids=tuple(sample.id for sample in samples),
        original_sizes=tuple(sample.original_size for sample in samples),
        repeated=tuple(repeated),
        step_targets=targets,
    )


def collate_step(
    samples: Sequence[Sample], info: DatasetInfo, parts: int = 1, repeated: Sequence[bool] | None = None
) -> list[Batch]:
    """Make the `parts` accumulated batches of one optimizer step, each knowing the targets of the whole step."""
    marks = repeated if repeated is not None else (False,) * len(samples)
    size = len(samples) // parts
    batches = [
        collate(samples[begin : begin + size], info, marks[begin : begin + size])
        for begin in range(0, len(samples), size)
    ]
    step_targets = tuple(target for batch in batches for target in batch.targets)
    return [replace(batch, step_targets=step_targets) for batch in batches]


def target_of(sample: Sample) -> Target:
    """Turn a sample's truth into tensors."""
    if sample.label_map is None:
        return Target()
    return Target(label_map=torch.from_numpy(sample.label_map.astype(np.int64)))


def stack_label_maps(targets: Sequence[Target], size: tuple[int, int], ignore_index: int) -> Tensor:
    """Pad label maps at the bottom and right with the ignore index: (B, height, width) int64."""
    first = targets[0].label_map
    if first is None:
        raise ValueError("the batch has no label maps")
    stacked = first.new_full((len(targets), *size), ignore_index)
    for row, target in zip(stacked, targets, strict=True):
        label_map = target.label_map
        if label_map is not None:
            row[: label_map.shape[0], : label_map.shape[1]] = label_map
    return stacked
