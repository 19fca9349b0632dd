"""Augmentations: a Sample to a Sample, as a pure function of an integer seed. Only this file knows albumentations.

Label maps, layers, instance masks and panoptic ids are resized to the nearest pixel; padding is the mean colour, which
normalises to zero, the ignore index in label maps and layers, and nothing (zero) in masks and ids.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np

from coatseg.data.images import PIXEL_RANGE, Pixels
from coatseg.errors import ConfigError
from coatseg.structures import DatasetInfo, Instances, Panoptic, Sample, Size

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version otherwise

import albumentations as alb
from albumentations.core.type_definitions import Targets


def random_scale(info: DatasetInfo, *, low: float = 0.5, high: float = 2.0) -> alb.BasicTransform:
    """Resize by a factor drawn evenly from `low` to `high`, both sides alike.

    Images are averaged over areas when they shrink, bilinear when they grow.

    Raises:
        ConfigError: not 0 < low <= high.
    """
    if not 0 < low <= high:
        raise ConfigError(f"scale.low={low} and scale.high={high} are no range.", "Choose 0 < low <= high.")
    # NEAREST_EXACT keeps pixel centres where bilinear has them; NEAREST shifts masks by up to half a pixel.
    return alb.RandomScale(
        scale_limit=(low - 1, high - 1),
        interpolation=cv2.INTER_LINEAR,
        mask_interpolation=cv2.INTER_NEAREST_EXACT,
        area_for_downscale="image",
        p=1.0,
    )


def random_crop(
    info: DatasetInfo, *, size: Sequence[int], most_frequent: float = 0.75, tries: int = 10
) -> alb.BasicTransform:
    """Cut a window of `size` (height, width), smaller images padded at the bottom and right.

    Up to `tries` windows are drawn until one has more than one class, the most frequent of which covers at most
    `most_frequent` of what is labelled; the last one is taken otherwise. 1.0 takes any window, and samples with layers
    take any, too. A sample with a focus gets windows that hold a pixel of this class.

    Raises:
        ConfigError: `size` is not two positive integers, or an option is out of range.
    """
    lengths = tuple(size) if isinstance(size, Sequence) else ()
    if len(lengths) != 2 or not all(isinstance(length, int) and length > 0 for length in lengths):
        raise ConfigError(f"crop.size={size} is not a size in pixels.", "Write two integers: [height, width].")
    _check_range("crop.most_frequent", most_frequent, 0, 1)
    if tries < 1:
        raise ConfigError(f"crop.tries={tries} draws no window.", "Choose 1 or more.")
    return _RandomCrop(info, lengths, most_frequent, tries)


def horizontal_flip(info: DatasetInfo, *, probability: float = 0.5) -> alb.BasicTransform:
    """Mirror left and right, with a probability.

    Raises:
        ConfigError: a probability that is none.
    """
    _check_range("flip.probability", probability, 0, 1)
    return alb.HorizontalFlip(p=probability)


def photometric(
    info: DatasetInfo,
    *,
    brightness: float = 0.125,
    contrast: float = 0.5,
    saturation: float = 0.5,
    hue: float = 0.1,
    probability: float = 0.5,
) -> alb.BasicTransform:
    """Distort colours as SSD did: each of the four by itself with `probability`, contrast first or last.

    `brightness` is the largest shift, a share of the pixel range; `contrast` and `saturation` the largest change of a
    factor about 1; `hue` the largest turn, a share of the colour circle. Saturation and hue are for uint8 RGB only.
    float32 images have no range to count in: their shift is a share of 4 standard deviations of each channel, and
    contrast changes about the mean. The defaults are those of MMSegmentation.

    Raises:
        ConfigError: an option out of range.
    """
    strengths = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}
    for name, strength in strengths.items():
        _check_range(f"photometric.{name}", strength, 0, 1)
    _check_range("photometric.probability", probability, 0, 1)
    return _Photometric(info, strengths, probability)


AUGMENTATIONS: Mapping[str, Callable[..., alb.BasicTransform]] = MappingProxyType(
    {"scale": random_scale, "crop": random_crop, "flip": horizontal_flip, "photometric": photometric}
)


class Transform:
    """Steps in their order, applied to everything that a sample has: `transform(sample, seed) -> Sample`.

    The result is a function of (sample, seed), in any order and in any worker process. Boxes are clipped; instances
    whose box or mask vanishes are dropped whole, as are panoptic segments without a pixel.
    """

    def __init__(self, steps: Sequence[alb.BasicTransform], info: DatasetInfo) -> None:
        self.info = info
        shared = {"additional_targets": {"ids": "masks", "layers": "mask"}, "is_check_shapes": False}
        boxes = alb.BboxParams("pascal_voc", clip=True, filter_invalid_bboxes=True, min_width=1, min_height=1)
        moves_boxes = any("bboxes" in step.available_keys for step in steps)
        self._pixels_only = alb.Compose(steps, **shared)
        self._with_boxes = alb.Compose(steps, bbox_params=boxes if moves_boxes else None, **shared)

    def __call__(self, sample: Sample, seed: int) -> Sample:
        """Transform one sample. Its id and original size stay."""
        instances = sample.instances
        compose = self._with_boxes if instances is not None and len(instances) else self._pixels_only
        # set_random_seed would give every step a generator of its own from one seed: a flip would follow the scale.
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        done = compose(**_to_targets(sample))
        size = done["image"].shape[:2]
        return replace(
            sample,
            image=done["image"],
            label_map=done.get("mask"),
            layers=done.get("layers"),
            instances=None if instances is None else _kept_instances(instances, done, size),
            panoptic=None if sample.panoptic is None else _kept_segments(sample.panoptic, done["ids"][0]),
        )


def _to_targets(sample: Sample) -> dict[str, Any]:
    """Name what the sample has as albumentations does. "masks" are padded with zeros, and so are ids."""
    targets: dict[str, Any] = {"image": sample.image}
    if sample.label_map is not None:
        targets["mask"] = sample.label_map
    if sample.layers is not None:
        targets["layers"] = sample.layers
    targets["focus"] = sample.focus
    if sample.panoptic is not None:
        targets["ids"] = sample.panoptic.ids[None]
    instances = sample.instances
    if instances is not None and len(instances):
        # Boxes are filtered and masks are not: a fifth column says which instance a box is of.
        targets["bboxes"] = np.column_stack([instances.boxes, np.arange(len(instances))]).astype(np.float32)
        if instances.masks is not None:
            targets["masks"] = instances.masks.astype(np.uint8)
    return targets


def _kept_instances(before: Instances, done: Mapping[str, Any], size: Size) -> Instances:
    boxes = done.get("bboxes", np.empty((0, 5), np.float32))
    kept = boxes[:, 4].astype(np.int64) if len(boxes) else np.empty(0, np.int64)
    masks = None
    if before.masks is not None:
        masks = done["masks"][kept].astype(np.bool_) if len(kept) else np.empty((0, *size), np.bool_)
        seen = masks.any(axis=(1, 2))
        kept, boxes, masks = kept[seen], boxes[seen], masks[seen]
    return Instances(
        boxes=boxes[:, :4].astype(np.float32), labels=before.labels[kept], masks=masks, crowd=before.crowd[kept]
    )


def _kept_segments(before: Panoptic, ids: Pixels) -> Panoptic:
    there = set(np.unique(ids).tolist())
    return Panoptic(ids=ids, segments=tuple(segment for segment in before.segments if segment.id in there))


class _RandomCrop(alb.DualTransform):  # type: ignore[misc]
    _targets = (Targets.IMAGE, Targets.MASK, Targets.BBOXES)

    def __init__(self, info: DatasetInfo, size: Size, most_frequent: float, tries: int) -> None:
        super().__init__(p=1.0)
        self._info = info
        self._size = size
        self._most_frequent = most_frequent
        self._tries = tries

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        label_map = data.get("mask")
        places = self._places_of(data.get("focus"), data.get("layers", label_map))
        for _ in range(self._tries):
            place = places[self.py_random.randrange(len(places))] if len(places) else (None, None)
            y, x = map(self._begin, params["shape"][:2], self._size, place)
            corner = (y, x)
            if label_map is None or self._is_varied(self._window(label_map, corner)):
                break
        return {"corner": corner}

    def _places_of(self, focus: int | None, labels: Pixels | None) -> Pixels:
        """Give the (row, column) of each pixel that a window has to hold one of, (N, 2); none for any window."""
        if focus is None or labels is None:
            return np.empty((0, 2), np.int64)
        return np.argwhere(labels[..., focus] == 1 if labels.ndim == 3 else labels == focus)

    def _begin(self, have: int, want: int, held: int | None) -> int:
        """Draw where a window of `want` pixels begins along a side of `have`, so that it holds pixel `held`."""
        spare = max(0, have - want)
        first, last = (0, spare) if held is None else (max(0, int(held) - want + 1), int(held))
        return int(self.py_random.randint(min(spare, first), min(spare, last)))

    def apply(self, img: Pixels, corner: tuple[int, int], **_: Any) -> Pixels:
        mean = np.array(self._info.mean) * PIXEL_RANGE[img.dtype]
        return self._padded(self._window(img, corner), mean if img.dtype == np.float32 else mean.round())

    def apply_to_mask(self, mask: Pixels, corner: tuple[int, int], **_: Any) -> Pixels:
        return self._padded(self._window(mask, corner), self._info.ignore_index)

    def apply_to_masks(self, masks: Pixels, corner: tuple[int, int], **_: Any) -> Pixels:
        return np.stack([self._padded(self._window(mask, corner), 0) for mask in masks])

    def apply_to_bboxes(self, bboxes: Pixels, corner: tuple[int, int], **params: Any) -> Pixels:
        (height, width), (y, x) = params["shape"][:2], corner
        moved = bboxes.copy()
        moved[:, [0, 2]] = (bboxes[:, [0, 2]] * width - x) / self._size[1]
        moved[:, [1, 3]] = (bboxes[:, [1, 3]] * height - y) / self._size[0]
        return moved

    def _window(self, array: Pixels, corner: tuple[int, int]) -> Pixels:
        y, x = corner
        return array[y : y + self._size[0], x : x + self._size[1]]

    def _padded(self, window: Pixels, fill: Any) -> Pixels:
        height, width = window.shape[:2]
        if (height, width) == self._size:
            return window
        padded = np.empty((*self._size, *window.shape[2:]), window.dtype)
        padded[:height, :width] = window
        padded[height:] = fill
        padded[:height, width:] = fill
        return padded

    def _is_varied(self, labels: Pixels) -> bool:
        if self._most_frequent >= 1:
            return True
        counts = _class_counts(labels, self._info.ignore_index)
        return bool(counts.sum() and counts.max() <= self._most_frequent * counts.sum())


def _class_counts(labels: Pixels, ignored: int) -> Pixels:
    if labels.dtype != np.uint8:
        return np.bincount(labels[labels != ignored])
    histogram = cv2.calcHist([labels], [0], None, [256], [0, 256])  # seven times as fast, but for bytes only
    counts: Pixels = histogram.astype(np.int64)
    counts[ignored : ignored + 1] = 0  # nothing where what is ignored is no byte
    return counts


class _Photometric(alb.ImageOnlyTransform):  # type: ignore[misc]
    def __init__(self, info: DatasetInfo, strengths: Mapping[str, float], probability: float) -> None:
        super().__init__(p=1.0)
        self._info = info
        self._strengths = strengths
        self._probability = probability

    def get_params(self) -> dict[str, Any]:
        amounts = {
            name: self.py_random.uniform(-strength, strength) if self.py_random.random() < self._probability else 0.0
            for name, strength in self._strengths.items()
        }
        return {"amounts": amounts, "contrast_first": self.py_random.random() < 0.5}

    def apply(self, img: Pixels, amounts: Mapping[str, float], contrast_first: bool, **_: Any) -> Pixels:
        shift, factor = amounts["brightness"], 1 + amounts["contrast"]
        if img.dtype == np.float32:
            mean, std = np.array(self._info.mean, np.float32), np.array(self._info.std, np.float32)
            return (img - mean + shift * 4 * std) * np.float32(factor) + mean
        if img.dtype != np.uint8 or img.shape[2] != 3:
            return _linear(img, factor, shift * factor)
        img = _linear(img, factor, shift * factor) if contrast_first else _linear(img, 1.0, shift)
        img = _coloured(img, 1 + amounts["saturation"], amounts["hue"])
        return img if contrast_first else _linear(img, factor, 0.0)


def _linear(image: Pixels, factor: float, shift: float) -> Pixels:
    """Give image * factor + shift, of the pixel range, clipped to it."""
    if factor == 1 and shift == 0:
        return image
    top = PIXEL_RANGE[image.dtype]
    levels = np.arange(top + 1) * factor + shift * top
    return _looked_up(image, levels.round().clip(0, top).astype(image.dtype))


def _coloured(image: Pixels, saturation: float, hue: float) -> Pixels:
    """Multiply the saturation and turn the hue of an RGB image, uint8."""
    if saturation == 1 and hue == 0:
        return image
    # All 256 steps of a byte go round the colour circle in the _FULL conversions.
    bytes_ = np.arange(256)
    table = np.stack([(bytes_ + round(hue * 256)) % 256, (bytes_ * saturation).clip(0, 255).round(), bytes_], axis=-1)
    turned = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table.astype(np.uint8)[None])
    return np.asarray(cv2.cvtColor(turned, cv2.COLOR_HSV2RGB_FULL))


def _looked_up(image: Pixels, levels: Pixels) -> Pixels:
    return cv2.LUT(image, levels).reshape(image.shape) if image.dtype == np.uint8 else levels[image]


def _check_range(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{key}={value} is out of range.", f"Choose a number from {low} to {high}.")
