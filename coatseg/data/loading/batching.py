"""Collate samples into batches: the one place where images become padded, normalised tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coatseg.data.images.normalization import normalise
from coatseg.structures import (
    Batch,
    DatasetInfo,
    Instances,
    InstanceTarget,
    Panoptic,
    PanopticTarget,
    Sample,
    Size,
    Target,
)


def collate(samples: Sequence[Sample], info: DatasetInfo, repeated: Sequence[bool]) -> Batch:
    """Normalise samples and pad them, with zeros (the mean colour) at the bottom and right, into one batch."""
    sizes = tuple((sample.image.shape[0], sample.image.shape[1]) for sample in samples)
    images = torch.empty(len(samples), info.channels, *(max(lengths) for lengths in zip(*sizes, strict=True)))
    for row, sample, (height, width) in zip(images, samples, sizes, strict=True):
        normalise(sample.image, info, out=row[:, :height, :width])
        row[:, height:] = 0
        row[:, :height, width:] = 0
    targets = tuple(target_of(sample) for sample in samples)
    return Batch(
        images=images,
        sizes=sizes,
        targets=targets,
        ids=tuple(sample.id for sample in samples),
        original_sizes=tuple(sample.original_size for sample in samples),
        repeated=tuple(repeated),
        step_targets=targets,
    )


def collate_step(
    samples: Sequence[Sample], info: DatasetInfo, parts: int = 1, repeated: Sequence[bool] | None = None
) -> list[Batch]:
    """Return the `parts` accumulated batches of one optimizer step, each with the targets of the whole step."""
    marks = repeated if repeated is not None else (False,) * len(samples)
    size = len(samples) // parts
    batches = [
        collate(samples[begin : begin + size], info, marks[begin : begin + size])
        for begin in range(0, len(samples), size)
    ]
    step_targets = tuple(target for batch in batches for target in batch.targets)
    return [replace(batch, step_targets=step_targets) for batch in batches]


def target_of(sample: Sample) -> Target:
    """Return the truth of a sample as tensors."""
    label_map, layers = sample.label_map, sample.layers
    return Target(
        label_map=None if label_map is None else torch.from_numpy(label_map.astype(np.int64)),
        layers=None if layers is None else torch.from_numpy(np.ascontiguousarray(layers.transpose(2, 0, 1))),
        instances=None if sample.instances is None else _instances_of(sample.instances),
        panoptic=None if sample.panoptic is None else _panoptic_of(sample.panoptic),
    )


def _instances_of(instances: Instances) -> InstanceTarget:
    tensors: dict[str, Any] = {}
    for field in fields(instances):
        array = getattr(instances, field.name)
        tensors[field.name] = None if array is None else torch.from_numpy(np.ascontiguousarray(array))
    return InstanceTarget(**tensors)


def _panoptic_of(panoptic: Panoptic) -> PanopticTarget:
    segments = panoptic.segments
    return PanopticTarget(
        ids=torch.from_numpy(np.ascontiguousarray(panoptic.ids, np.int32)),
        numbers=torch.tensor([segment.id for segment in segments], dtype=torch.int32),
        labels=torch.tensor([segment.label for segment in segments], dtype=torch.int64),
        crowd=torch.tensor([segment.crowd for segment in segments], dtype=torch.bool),
    )


def stack_labels(maps: Sequence[Tensor], size: Size, ignore_index: int) -> Tensor:
    """Pad label maps (H, W) or layers (K, H, W) at the bottom and right with the ignore index, and stack them."""
    stacked = maps[0].new_full((len(maps), *maps[0].shape[:-2], *size), ignore_index)
    for row, labels in zip(stacked, maps, strict=True):
        row[..., : labels.shape[-2], : labels.shape[-1]] = labels
    return stacked
