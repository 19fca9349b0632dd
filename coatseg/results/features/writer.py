"""The feature maps of many images, as files: shard after shard, each whole or not at all, so that it can go on.

Shards hold fixed numbers of images in a fixed order, and batches never cross them. A shard is done when its part of the
manifest is there; whatever else an interrupted run left is written again, with the same bytes. Processes share the
shards by their numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from coatseg.data.images.sources import Skipped
from coatseg.data.loading.batching import collate
from coatseg.errors import ConfigError, DatasetError, ImageError
from coatseg.results.features.folder import FeatureFolder, check_unchanged
from coatseg.results.features.formats import FORMATS, MapArray, Stored
from coatseg.results.features.images import FeatureImages
from coatseg.results.features.maps import Extractor, Maps
from coatseg.results.features.pictures import FeaturePictures
from coatseg.structures import Sample
from coatseg.system.memory import too_large
from coatseg.system.places import Place

VERSION = 3


@dataclass(frozen=True)
class Plan:
    """What is written and how: with the images and the model, all that the bytes depend on.

    `made` holds what else they depend on, by name, as plain values: the model, its options and weights, the pictures.
    """

    format: str
    dtype: str
    batch_size: int
    shard_images: int
    made: Mapping[str, Any]

    def settings(self, images: FeatureImages, extractor: Extractor) -> dict[str, Any]:
        """Give what features.json holds."""
        return {
            "version": VERSION,
            "format": self.format,
            "dtype": self.dtype,
            "strides": list(extractor.strides),
            "images": len(images),
            "digest_of_images": images.digest,
            **images.made,
            "mean": list(images.info.mean),
            "std": list(images.info.std),
            "batch_size": self.batch_size,
            "shard_images": self.shard_images,
            **self.made,
        }


@dataclass(frozen=True)
class Made:
    """An image and its maps by stride, as they are stored."""

    sample: Sample
    arrays: Mapping[int, MapArray]


class FeatureWriter:
    """Writes the maps that an extractor makes of images to a place."""

    def __init__(
        self,
        images: FeatureImages,
        extractor: Extractor,
        place: Place,
        plan: Plan,
        *,
        device: torch.device | str = "cpu",
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
        pictures: FeaturePictures | None = None,
        workers: int = 1,
    ) -> None:
        self.images, self.extractor, self.plan = images, extractor, plan
        self.folder = FeatureFolder(place)
        self.device = device
        self.autocast = autocast
        self.pictures = pictures
        self.workers = workers
        self._ids: set[str] = set()
        count = plan.shard_images
        self.shards = [range(begin, min(begin + count, len(images))) for begin in range(0, len(images), count)]

    def begin(self) -> int:
        """Prepare the folder, or find an earlier run's to go on with; give the number of shards that are done.

        A shard that skipped an image which can be read now is made again.

        Raises:
            OutputError: the folder cannot be written.
            RunExistsError: it holds maps of other images, another model or other options, or files that are not ours.
        """
        count = len(self.shards)
        self.folder.begin(self.plan.settings(self.images, self.extractor))
        check_unchanged(self.folder.rows(range(count)), self.images.lengths, self.folder.place)
        self._retry_skipped()
        return count if self.folder.finished else sum(self.folder.done(number) for number in range(count))

    def remaining(self, rank: int = 0, world_size: int = 1) -> int:
        """Count the images of this process's shards that are not done yet."""
        if self.folder.finished:
            return 0
        mine = range(rank, len(self.shards), world_size)
        return sum(len(self.shards[number]) for number in mine if not self.folder.done(number))

    def write(self, rank: int = 0, world_size: int = 1) -> Iterator[int]:
        """Make this process's shards that are not done yet; gives the number of images after each batch.

        Raises:
            OutputError: a file cannot be written.
            ConfigError: a map reaches beyond float16.
            DatasetError: two images have the same id.
        """
        if self.folder.finished:
            return
        for number in range(rank, len(self.shards), world_size):
            if not self.folder.done(number):
                yield from self._write_shard(number)

    def finish(self) -> list[Skipped]:
        """Join the parts to the manifest when all shards are done, tidy up, and give the images that were skipped.

        Raises:
            DatasetError: two images have the same id.
        """
        if not self.folder.finished:
            parts = [self.folder.part(number) for number in range(len(self.shards))]
            self._ids = set()
            for part in parts:
                for image_id in dict.fromkeys(row["id"] for row in part["maps"]):
                    self._note(image_id)
            self.folder.join(parts)
        return [Skipped(**row) for row in self.folder.conclude(self.plan.format)]

    def _note(self, image_id: str) -> None:
        """Remember an id; refuse it the second time."""
        if image_id in self._ids:
            raise DatasetError(
                f"Two images have the id {image_id}, by which feature maps are found.", "Give every image a name."
            )
        self._ids.add(image_id)

    def _retry_skipped(self) -> None:
        """Have the shards made again of which an image was skipped that can be read now."""
        for number in filter(self.folder.done, range(len(self.shards))):
            skipped = self.folder.part(number)["skipped_indices"]
            if any(isinstance(self._read(index), Sample) for index in skipped):
                self.folder.forget(number)

    def _write_shard(self, number: int) -> Iterator[int]:
        indices = self.shards[number]
        lengths = [self.images.longest_id(index) for index in indices for _ in self.extractor.strides]
        maps: list[dict[str, Any]] = []
        skipped: dict[int, Skipped] = {}
        name = f"{number:05}"
        with FORMATS[self.plan.format](self.folder.place, name, lengths) as add:
            for batch in self._batches(indices):
                for index, made in self._made(batch):
                    if isinstance(made, Skipped):
                        skipped[index] = made
                        continue
                    self._note(made.sample.id)
                    for stride, array in made.arrays.items():
                        stored = add(made.sample.id, stride, array)
                        level = self.extractor.levels[stride]
                        maps.append(
                            row(made.sample, self.images.lengths.get(made.sample.id), level, stride, array, stored)
                        )
                yield len(batch)
        lines = [asdict(unread) for unread in skipped.values()]
        self.folder.write_part(number, {"maps": maps, "skipped": lines, "skipped_indices": list(skipped)})

    def _batches(self, indices: Sequence[int]) -> Iterator[dict[int, Sample | Skipped]]:
        read: dict[int, Sample | Skipped] = {}
        for index, image in zip(indices, ahead(self._read, indices, self.workers), strict=True):
            read[index] = image
            if len(read) == self.plan.batch_size:
                yield read
                read = {}
        if read:
            yield read

    def _read(self, index: int) -> Sample | Skipped:
        """Read an image, and skip it if it is too small to have maps."""
        sample = self.images[index]
        if isinstance(sample, Sample):
            height, width = sample.image.shape[:2]
            least = self.extractor.least_size
            if min(height, width) < least:
                reason = f"{sample.file or sample.id} has {height}x{width} pixels; the least is {least}x{least}."
                return Skipped(sample.id, sample.file, reason)
        return sample

    def _made(self, batch: Mapping[int, Sample | Skipped]) -> Iterator[tuple[int, Made | Skipped]]:
        """Give the maps of the images of a batch that could be read, and the others as they are, in order."""
        made = iter(self._maps([image for image in batch.values() if isinstance(image, Sample)]))
        for index, image in batch.items():
            yield index, image if isinstance(image, Skipped) else next(made)

    def _maps(self, samples: Sequence[Sample]) -> list[Made | Skipped]:
        """Make the maps of images together, or one by one if the memory is too small for that."""
        if not samples:
            return []
        sizes = {sample.id: (sample.image.shape[0], sample.image.shape[1]) for sample in samples}
        try:
            with too_large(sizes, "make the maps of"):
                return self._together(samples)
        except ImageError as error:
            if len(samples) == 1:
                return [Skipped(samples[0].id, samples[0].file, error.what)]
        return [made for sample in samples for made in self._maps([sample])]

    def _together(self, samples: Sequence[Sample]) -> list[Made | Skipped]:
        batch = collate(samples, self.images.info, [False] * len(samples)).to(self.device)
        pictures = self.pictures
        with torch.inference_mode(), self.autocast():  # pictures go through some layers once more
            with nullcontext() if pictures is None else pictures.watching():
                made = self.extractor(batch.images, batch.sizes)
            return [self._stored(number, *each) for number, each in enumerate(zip(samples, made, strict=True))]

    def _stored(self, number: int, sample: Sample, maps: Maps) -> Made | Skipped:
        """Give the maps of image `number` of the batch as they are stored, and draw them; skip what is not finite."""
        if not all(bool(tensor.isfinite().all()) for tensor in maps.values()):
            count = int((~np.isfinite(sample.image)).any(-1).sum())
            why = f", with NaN or infinity in {count} of its pixels" if count else ""
            return Skipped(sample.id, sample.file, f"{sample.file or sample.id}: its maps are not finite{why}.")
        if self.pictures is not None:
            self.pictures.draw(number, sample, maps)
        return Made(sample, {stride: self._array(tensor, sample) for stride, tensor in maps.items()})

    def _array(self, tensor: torch.Tensor, sample: Sample) -> MapArray:
        array = tensor.to(getattr(torch, self.plan.dtype)).cpu().numpy()
        if not np.isfinite(array).all():
            raise ConfigError(
                f"The maps of {sample.id} reach {tensor.abs().max():.4g}, beyond float16's 65504.",
                "Choose dtype=float32.",
            )
        return np.ascontiguousarray(array)


def row(
    sample: Sample, file_bytes: int | None, level: int, stride: int, array: MapArray, stored: Stored
) -> dict[str, Any]:
    """Make a line of the manifest.

    `level` counts the maps that the network has from fine to coarse, kept or not; `size` is what it saw, which may be
    resized.
    """
    return {
        "id": sample.id,
        "file": sample.file,
        "file_bytes": file_bytes,
        "original_size": list(sample.original_size),
        "size": list(sample.image.shape[:2]),
        "level": level,
        "stride": stride,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "path": stored.path,
        "offset": stored.offset,
    }


def ahead(read: Callable[[int], Any], indices: Sequence[int], workers: int) -> Iterator[Any]:
    """Read in threads, in order and no more than a few images ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for index in indices:
                waiting.append(pool.submit(read, index))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
