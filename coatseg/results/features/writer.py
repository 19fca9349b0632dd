"""The feature maps of many images, as files: shard after shard, each whole or not at all, so that it can go on.

Shards hold fixed numbers of images in a fixed order, and batches never cross them. A shard is done when its part of the
manifest is there; whatever else an interrupted run left is written again, with the same bytes. Processes share the
shards by their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from coatseg.data.images.sources import Skipped
from coatseg.errors import DatasetError
from coatseg.results.features.folder import FeatureFolder, check_unchanged
from coatseg.results.features.formats import FORMATS, MapArray, Stored
from coatseg.results.features.making import MapMaker
from coatseg.structures import Sample
from coatseg.system.fsspec_folders import Place

VERSION = 3


@dataclass(frozen=True)
class WritingPlan:
    """How maps are stored: with the images and what makes the maps, all that the bytes depend on.

    `made` holds what else they depend on, by name, as plain values: the model, its options and weights, the pictures.
    """

    format: str
    shard_images: int
    made: Mapping[str, Any]

    def settings(self, maker: MapMaker) -> dict[str, Any]:
        """Return what features.json holds."""
        images = maker.images
        return {
            "version": VERSION,
            "format": self.format,
            "dtype": maker.dtype,
            "strides": list(maker.extractor.strides),
            "images": len(images),
            "digest_of_images": images.digest,
            **images.made,
            "mean": list(images.info.mean),
            "std": list(images.info.std),
            "batch_size": maker.batch_size,
            "shard_images": self.shard_images,
            **self.made,
        }


class FeatureWriter:
    """Writes the maps of all images that a maker has to a place."""

    def __init__(self, maker: MapMaker, place: Place, plan: WritingPlan) -> None:
        self.maker, self.images, self.plan = maker, maker.images, plan
        self.folder = FeatureFolder(place)
        self._ids: set[str] = set()
        count, total = plan.shard_images, len(self.images)
        self.shards = [range(begin, min(begin + count, total)) for begin in range(0, total, count)]

    def begin(self) -> int:
        """Prepare the folder, or find an earlier run's to go on with; give the number of shards that are done.

        A shard that skipped an image which can be read now is made again.

        Raises:
            OutputError: the folder cannot be written.
            RunExistsError: it holds maps of other images, another model or other options, or files that are not ours.
        """
        count = len(self.shards)
        self.folder.begin(self.plan.settings(self.maker))
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
            if any(isinstance(self.maker.read(index), Sample) for index in skipped):
                self.folder.forget(number)

    def _write_shard(self, number: int) -> Iterator[int]:
        indices, extractor = self.shards[number], self.maker.extractor
        lengths = [self.images.longest_id(index) for index in indices for _ in extractor.strides]
        maps: list[dict[str, Any]] = []
        skipped: dict[int, Skipped] = {}
        with FORMATS[self.plan.format](self.folder.place, f"{number:05}", lengths) as add:
            for batch in self.maker.batches(indices):
                for index, made in self.maker.made(batch):
                    if isinstance(made, Skipped):
                        skipped[index] = made
                        continue
                    sample = made.sample
                    self._note(sample.id)
                    for stride, array in made.arrays.items():
                        stored = add(sample.id, stride, array)
                        length, level = self.images.lengths.get(sample.id), extractor.levels[stride]
                        maps.append(row(sample, length, level, stride, array, stored))
                yield len(batch)
        lines = [asdict(unread) for unread in skipped.values()]
        self.folder.write_part(number, {"maps": maps, "skipped": lines, "skipped_indices": list(skipped)})


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
