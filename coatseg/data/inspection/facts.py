"""The facts kept of each sample of a dataset: numbers and digests, so that a hundred thousand samples fit in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.data.images.normalization import PIXEL_RANGE
from coatseg.data.images.statements.nodata import stated_nodata, without_data
from coatseg.data.inspection.counted import Counts, counted
from coatseg.data.inspection.object_facts import ObjectFacts, object_facts
from coatseg.data.inspection.segment_facts import SegmentFacts, segment_facts
from coatseg.data.loading.subset import palette_of
from coatseg.structures import Colour, Dataset, DatasetInfo, Pixels, Sample, Size


@dataclass(frozen=True)
class LabelFacts:
    """The number of pixels of each class (K,), of ignored ones, of those whose number is no class, and of all.

    In layers each pixel counts once for each class. Segments without a label map count as one of their classes.
    """

    pixels: Counts
    ignored: int
    unknown: int
    total: int


@dataclass(frozen=True)
class SampleFacts:
    """The facts of a sample that could be read.

    `image` and `truth` are digests of the decoded pixels and of the labels. mean and std (C,) are in units of the pixel
    scale, of the `measured` pixels alone: those with data, all of whose values are finite. `not_finite` counts values
    that are NaN or infinite, `without_data` the pixels that the reader filled because they hold no data, and `stated`
    those that it did not fill though they hold the value, `stated_value`, that the file states for no data. `greatest`
    is the greatest value of a 16-bit image, 0 of others. `palette` holds four bytes, number, red, green, blue, for each
    number in a mask that has a palette and is read by its numbers.
    """

    index: int
    id: str
    file: str
    size: Size
    dtype: str
    image: bytes
    truth: bytes
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    constant: bool
    greatest: int
    measured: int
    not_finite: int
    without_data: int
    stated: int
    stated_value: float | None
    palette: bytes
    labels: LabelFacts | None
    objects: ObjectFacts | None
    segments: SegmentFacts | None = None

    @property
    def sound(self) -> bool:
        """Whether it keeps a reader's contract: finite, labels that are classes, boxes inside, segments listed."""
        labels, objects, segments = self.labels, self.objects, self.segments
        wrong = (
            0 if labels is None else labels.unknown,
            0 if objects is None else objects.unknown + objects.outside,
            0 if segments is None else segments.unknown + segments.strangers,
        )
        return not (self.not_finite or any(wrong))


@dataclass(frozen=True)
class Unreadable:
    """A sample that could not be read, and the reason."""

    index: int
    reason: str


def read_facts(dataset: Dataset, index: int) -> SampleFacts | Unreadable:
    """Read a sample and return its facts; any error of its reader is returned as the reason that it is unreadable."""
    try:
        read = dataset.verify(index)
        return sample_facts(dataset[index] if read is None else read, index, dataset.info, palette_of(dataset, index))
    except Exception as error:  # a user's own reader may raise anything, and the other samples are still to be read
        what = getattr(error, "what", None)
        return Unreadable(index, what or f"{type(error).__name__}: {error}")


def sample_facts(sample: Sample, index: int, info: DatasetInfo, palette: Sequence[Colour] = ()) -> SampleFacts:
    """Return the facts of a sample; `palette` is that of its mask."""
    image = sample.image
    filled = np.zeros(image.shape[:2], bool) if sample.nodata is None else sample.nodata
    held = stated_nodata(Path(sample.file)) if Path(sample.file).is_file() else None
    left = np.zeros_like(filled) if held is None else without_data(image, held) & ~filled
    measured = ~(filled | left)
    broken = 0
    if image.dtype.kind == "f":
        finite = np.isfinite(image)
        broken = int(image.size - finite.sum())
        measured &= finite.all(-1)
    mean, std = _statistics(image, measured)
    segments = None if sample.panoptic is None else segment_facts(sample.panoptic, info)
    return SampleFacts(
        index=index,
        id=sample.id,
        file=sample.file,
        size=(image.shape[0], image.shape[1]),
        dtype=str(image.dtype),
        image=_digest(image),
        truth=_digest(*_truth(sample)),
        mean=mean,
        std=std,
        constant=bool((image[0] == image[0, 0]).all() and (image == image[0, 0]).all()),  # the first row tells fast
        greatest=int(image.max()) if image.dtype == np.uint16 else 0,
        measured=int(measured.sum()),
        not_finite=broken,
        without_data=int(filled.sum()),
        stated=int(left.sum()),
        stated_value=held,
        palette=_used_colours(sample, palette),
        labels=_label_facts(sample, info, segments),
        objects=None if sample.instances is None else object_facts(sample.instances, sample.original_size, info),
        segments=segments,
    )


def _statistics(
    image: Pixels, measured: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and standard deviation of each channel (C,) over the measured pixels, 0 if there are none."""
    where = None if measured.all() else measured.view(np.uint8)
    planes = [
        cv2.meanStdDev(np.ascontiguousarray(image[..., channel]), mask=where) for channel in range(image.shape[2])
    ]
    scale = PIXEL_RANGE[image.dtype]
    mean, std = (np.array([plane[part].item() for plane in planes]) / scale for part in (0, 1))
    return mean, std


def _used_colours(sample: Sample, palette: Sequence[Colour]) -> bytes:
    """Return number, red, green and blue of each number in a label map that has a palette."""
    if sample.label_map is None or not palette:
        return b""
    numbers, counts = counted(sample.label_map)
    used = [number for number in numbers[counts > 0].tolist() if 0 <= number < len(palette)]
    return bytes(value for number in used for value in (number, *palette[number]))


def _truth(sample: Sample) -> list[Any]:
    parts: list[Any] = [sample.label_map, sample.layers]
    if sample.instances is not None:
        parts += [sample.instances.boxes, sample.instances.labels, sample.instances.crowd]
    if sample.panoptic is not None:
        listed = [(segment.id, segment.label, segment.crowd) for segment in sample.panoptic.segments]
        parts += [sample.panoptic.ids, np.array(listed, np.int64)]
    return parts


def _digest(*arrays: npt.NDArray[Any] | None) -> bytes:
    """Hash arrays with their shapes and types."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(b"" if array is None else f"{array.shape}{array.dtype}".encode())
        digest.update(b"" if array is None else np.ascontiguousarray(array).data)
    return digest.digest()


def _label_facts(sample: Sample, info: DatasetInfo, segments: SegmentFacts | None) -> LabelFacts | None:
    classes = len(info.classes)
    if sample.layers is not None:
        layers = sample.layers
        pixels = np.count_nonzero(layers == 1, axis=(0, 1)).astype(np.int64)
        ignored = int(np.count_nonzero(layers == info.ignore_index))
        unknown = layers.size - int(pixels.sum()) - ignored - int(np.count_nonzero(layers == 0))
        return LabelFacts(pixels, ignored, unknown, layers.size)
    if sample.label_map is None and segments is not None:
        pixels, total = segments.class_pixels(classes), int(segments.pixels.sum()) + segments.void + segments.unlisted
        return LabelFacts(pixels, segments.void, total - segments.void - int(pixels.sum()), total)
    if sample.label_map is None:
        return None
    numbers, counts = counted(sample.label_map)
    pixels = np.zeros(classes, np.int64)
    inside = (numbers >= 0) & (numbers < classes)
    pixels[numbers[inside]] = counts[inside]
    ignored = int(counts[numbers == info.ignore_index].sum())
    total = sample.label_map.size
    return LabelFacts(pixels, ignored, total - ignored - int(pixels.sum()), total)
