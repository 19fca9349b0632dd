"""Apply augmentations to a sample, as a pure function of an integer seed.

Label maps, layers, instance masks and panoptic ids are resized by nearest neighbour; padding is the mean colour, which
normalises to zero, the ignore index in label maps and layers, and background (zero) in masks and ids.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from coatseg.data.annotations.id_maps import Packed, pack, unpack
from coatseg.structures import DatasetInfo, Instances, Panoptic, Pixels, Sample, Size

import albumentations as alb  # isort: skip  # after the package above, which keeps it off the network


LEAST_SIDE = 0.1
"""Boxes with a shorter side, in pixels, are dropped: much less than one, so that rounding drops no one-pixel box."""


class Transform:
    """Steps in order, applied to everything that a sample has: `transform(sample, seed) -> Sample`.

    The result is a function of (sample, seed) alone, in any order and in any worker process. An object with a mask gets
    the tight box of the rest of its mask, and is dropped if no pixel is left. The box of one without a mask is clipped
    to the image, and the object is dropped if a side is shorter than a tenth of a pixel. A panoptic segment without a
    pixel is dropped, too. An image that has lost all of its objects is kept. Areas that a dataset states refer to its
    own images, so none are kept.
    """

    def __init__(self, steps: Sequence[alb.BasicTransform], info: DatasetInfo) -> None:
        self.info = info
        shared = {"additional_targets": {"ids": "masks", "layers": "mask"}, "is_check_shapes": False}
        boxes = alb.BboxParams(
            "pascal_voc", clip=True, filter_invalid_bboxes=True, min_width=LEAST_SIDE, min_height=LEAST_SIDE
        )
        moves_boxes = any("bboxes" in step.available_keys for step in steps)
        self._pixels_only = alb.Compose(steps, **shared)
        self._with_boxes = alb.Compose(steps, bbox_params=boxes if moves_boxes else None, **shared)

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Transform one sample; its id and original size are kept."""
        instances = sample.instances
        packed = None if instances is None or instances.masks is None or not len(instances) else pack(instances.masks)
        targets = _to_targets(sample, packed)
        compose = self._with_boxes if "bboxes" in targets else self._pixels_only
        # set_random_seed would give every step a generator of its own from one seed: a flip would follow the scale.
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        done = compose(**targets)
        if packed is not None:
            packed = replace(packed, maps=done["masks"])
        size = done["image"].shape[:2]
        return replace(
            sample,
            image=done["image"],
            label_map=done.get("mask"),
            layers=done.get("layers"),
            instances=None if instances is None else _kept_instances(instances, packed, done.get("bboxes"), size),
            panoptic=None if sample.panoptic is None else _kept_segments(sample.panoptic, done["ids"][0]),
        )


def _to_targets(sample: Sample, packed: Packed | None) -> dict[str, Any]:
    """Return the parts of a sample by the names of albumentations' targets; masks and ids are padded with zeros."""
    targets: dict[str, Any] = {"image": sample.image, "focus": sample.focus}
    if sample.label_map is not None:
        targets["mask"] = sample.label_map
    if sample.layers is not None:
        targets["layers"] = sample.layers
    if sample.panoptic is not None:
        targets |= {"ids": sample.panoptic.ids[None], "segments": sample.panoptic.segments}
    instances = sample.instances
    if packed is not None:
        targets["masks"] = packed.maps
    elif instances is not None and len(instances):
        # Boxes are filtered: a fifth column says which instance a box is of.
        targets["bboxes"] = np.column_stack([instances.boxes, np.arange(len(instances))]).astype(np.float32)
    return targets


def _kept_instances(before: Instances, packed: Packed | None, moved: Pixels | None, size: Size) -> Instances:
    """Return the instances of which masks, or boxes (N, 5) with their numbers, are left."""
    if packed is not None:
        kept, boxes, masks = unpack(packed)
        return Instances(boxes, before.labels[kept], masks, before.crowd[kept])
    rows = np.empty((0, 5), np.float32) if moved is None or not len(moved) else moved
    kept = rows[:, 4].astype(np.int64)
    none = None if before.masks is None else np.empty((0, *size), np.bool_)
    return Instances(rows[:, :4].astype(np.float64), before.labels[kept], none, before.crowd[kept])


def _kept_segments(before: Panoptic, ids: Pixels) -> Panoptic:
    there = set(np.unique(ids).tolist())
    kept = (replace(segment, area=None) for segment in before.segments if segment.id in there)
    return Panoptic(ids=ids, segments=tuple(kept))
