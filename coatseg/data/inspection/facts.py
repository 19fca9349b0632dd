"""The facts kept of each sample of a dataset: numbers and digests, so that a hundred thousand samples fit in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.data.images.normalization import PIXEL_RANGE
from coatseg.structures import Dataset, DatasetInfo, Instances, Pixels, Sample, Size

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LabelFacts:
    """The number of pixels of each class (K,), of ignored ones, of those whose number is no class, and of all.

    In layers each pixel counts once for each class.
    """

    pixels: Counts
    ignored: int
    unknown: int
    total: int


@dataclass(frozen=True)
class ObjectFacts:
    """The objects of an image, N of them.

    labels (N,); crowd (N,); sides (N, 2) float64, width and height of the boxes in pixels; areas (N,) float64 in pixels
    as the annotations state them, else those of the masks, else of the boxes; `empty` counts masks without a pixel,
    `repeated` objects that have the box and class of another one, `outside` boxes without area or reaching out of the
    image, `unknown` labels that are no class with instances.
    """

    labels: Counts
    crowd: npt.NDArray[np.bool_]
    sides: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    empty: int
    repeated: int
    outside: int
    unknown: int


@dataclass(frozen=True)
class SampleFacts:
    """The facts of a sample that could be read.

    `image` and `truth` are digests of the decoded pixels and of the labels. mean and std (C,) are in units of the pixel
    scale. `not_finite` counts values that are NaN or infinite; mean and std mean nothing then.
    """

    index: int
    id: str
    size: Size
    dtype: str
    image: bytes
    truth: bytes
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    constant: bool
    not_finite: int
    labels: LabelFacts | None
    objects: ObjectFacts | None

    @property
    def sound(self) -> bool:
        """Whether the sample keeps a reader's contract: finite, with labels that are classes and boxes in the image."""
        labels, objects = self.labels, self.objects
        wrong = (0 if labels is None else labels.unknown, 0 if objects is None else objects.unknown + objects.outside)
        return not (self.not_finite or any(wrong))


@dataclass(frozen=True)
class Unreadable:
    """A sample that could not be read, and the reason."""

    index: int
    reason: str


def read_facts(dataset: Dataset, index: int) -> SampleFacts | Unreadable:
    """Read a sample and return its facts; any error of its reader is returned as the reason that it is unreadable."""
    try:
        return sample_facts(dataset[index], index, dataset.info)
    except Exception as error:  # a user's own reader may raise anything, and the other samples are still to be read
        what = getattr(error, "what", None)
        return Unreadable(index, what or f"{type(error).__name__}: {error}")


def sample_facts(sample: Sample, index: int, info: DatasetInfo) -> SampleFacts:
    """Return the facts of a sample."""
    image = sample.image
    broken = 0 if image.dtype.kind != "f" else int(image.size - np.isfinite(image).sum())
    mean, std = _statistics(image)
    return SampleFacts(
        index=index,
        id=sample.id,
        size=(image.shape[0], image.shape[1]),
        dtype=str(image.dtype),
        image=_digest(image),
        truth=_digest(*_truth(sample)),
        mean=mean,
        std=std,
        constant=bool((image == image[0, 0]).all()),
        not_finite=broken,
        labels=_label_facts(sample, info),
        objects=None if sample.instances is None else _object_facts(sample.instances, sample.original_size, info),
    )


def _statistics(image: Pixels) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    planes = [cv2.meanStdDev(np.ascontiguousarray(image[..., channel])) for channel in range(image.shape[2])]
    scale = PIXEL_RANGE[image.dtype]
    mean, std = (np.array([plane[part].item() for plane in planes]) / scale for part in (0, 1))
    return mean, std


def _truth(sample: Sample) -> list[Any]:
    parts: list[Any] = [sample.label_map, sample.layers]
    if sample.instances is not None:
        parts += [sample.instances.boxes, sample.instances.labels, sample.instances.crowd]
    return parts


def _digest(*arrays: npt.NDArray[Any] | None) -> bytes:
    """Hash arrays with their shapes and types."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(b"" if array is None else f"{array.shape}{array.dtype}".encode())
        digest.update(b"" if array is None else np.ascontiguousarray(array).data)
    return digest.digest()


def _label_facts(sample: Sample, info: DatasetInfo) -> LabelFacts | None:
    classes = len(info.classes)
    if sample.layers is not None:
        layers = sample.layers
        pixels = np.count_nonzero(layers == 1, axis=(0, 1)).astype(np.int64)
        ignored = int(np.count_nonzero(layers == info.ignore_index))
        unknown = layers.size - int(pixels.sum()) - ignored - int(np.count_nonzero(layers == 0))
        return LabelFacts(pixels, ignored, unknown, layers.size)
    if sample.label_map is None:
        return None
    known = sample.label_map[sample.label_map != info.ignore_index].astype(np.int64)
    inside = known[(known >= 0) & (known < classes)]
    counts = np.bincount(inside, minlength=classes).astype(np.int64)
    total = sample.label_map.size
    return LabelFacts(counts, total - len(known), len(known) - len(inside), total)


def _object_facts(objects: Instances, size: Size, info: DatasetInfo) -> ObjectFacts:
    boxes, (height, width) = objects.boxes, size
    sides = boxes[:, 2:] - boxes[:, :2]
    outside = (sides <= 0).any(1) | (boxes < 0).any(1) | (boxes[:, 2] > width) | (boxes[:, 3] > height)
    named = np.concatenate([boxes, objects.labels[:, None]], 1)
    return ObjectFacts(
        labels=objects.labels,
        crowd=objects.crowd,
        sides=sides,
        areas=_areas(objects, sides),
        empty=0 if objects.masks is None else sum(not mask.any() for mask in objects.masks),
        repeated=len(named) - len(np.unique(named, axis=0)),
        outside=int(outside.sum()),
        unknown=int((~np.isin(objects.labels, info.things)).sum()),
    )


def _areas(objects: Instances, sides: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the areas (N,) by which COCO calls objects small, medium or large."""
    if objects.areas is not None:
        return objects.areas
    areas: npt.NDArray[Any] = sides.prod(1) if objects.masks is None else objects.masks.sum((1, 2))
    return areas.astype(np.float64)
