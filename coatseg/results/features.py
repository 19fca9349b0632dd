"""The feature maps of many images, as files: shard after shard, each whole or not at all, so that it can go on.

Shards hold fixed numbers of images in a fixed order, and batches never cross them. A shard is done when its part of the
manifest is there; whatever else an interrupted run left is written again, with the same bytes. Processes share the
shards by their numbers.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from coatseg.data.batching import collate
from coatseg.errors import ConfigError, RunExistsError
from coatseg.results.feature_files import FORMATS, MANIFEST, ZARR, MapArray
from coatseg.results.feature_images import FeatureImages, Read, Unread
from coatseg.results.feature_maps import Extractor, Maps
from coatseg.results.feature_pictures import FeaturePictures
from coatseg.results.places import PROBE, Place

SETTINGS = "features.json"
SKIPPED = "skipped.jsonl"
PARTS = "features.parts"
FOLDERS = {"shards": r".+\.safetensors", "maps": r".+\.npy", "pictures": r".+\.png"}
"""What is written where: folders, and how the names of the files in them look."""
OURS = (SETTINGS, SKIPPED, MANIFEST, PARTS, ZARR, *FOLDERS)
"""All names in the output folder; no other file or folder is written or removed."""
VERSION = 2
ELSEWHERE = "Choose another output=...; nothing was changed."


@dataclass(frozen=True)
class Plan:
    """What is written and how: with the images and the model, all that the bytes depend on.

    `made` holds what else they depend on, by name, as plain values: the model, its weights, the pictures.
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
            "mean": list(images.info.mean),
            "std": list(images.info.std),
            "batch_size": self.batch_size,
            "shard_images": self.shard_images,
            **self.made,
        }


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
        self.images, self.extractor, self.place, self.plan = images, extractor, place, plan
        self.device = device
        self.autocast = autocast
        self.pictures = pictures
        self.workers = workers
        count = plan.shard_images
        self.shards = [range(begin, min(begin + count, len(images))) for begin in range(0, len(images), count)]

    def begin(self) -> int:
        """Prepare the folder, or find an earlier run's to go on with; give the number of shards that are done.

        Raises:
            OutputError: the folder cannot be written.
            RunExistsError: it holds maps of other images, another model or other options, or files that are not ours.
        """
        written = _json(self.plan.settings(self.images, self.extractor), indent=1)
        if self.place.exists(SETTINGS):
            check_same(self._settings_there(), json.loads(written), self.place)
        else:
            self._check_free()
            self.place.write(SETTINGS, written)
        return len(self.shards) if self.finished else sum(self._done(number) for number in range(len(self.shards)))

    @property
    def finished(self) -> bool:
        """Whether all is done, the manifest included."""
        return self.place.exists(MANIFEST)

    def remaining(self, rank: int = 0, world_size: int = 1) -> int:
        """Count the images of this process's shards that are not done yet."""
        if self.finished:
            return 0
        mine = range(rank, len(self.shards), world_size)
        return sum(len(self.shards[number]) for number in mine if not self._done(number))

    def write(self, rank: int = 0, world_size: int = 1) -> Iterator[int]:
        """Make this process's shards that are not done yet; gives the number of images after each batch."""
        if self.finished:
            return
        for number in range(rank, len(self.shards), world_size):
            if not self._done(number):
                yield from self._write_shard(number)

    def finish(self) -> list[Unread]:
        """Join the parts to the manifest when all shards are done, tidy up, and give the images that were skipped."""
        if not self.finished:
            parts = [json.loads(self.place.read(self._part(number))) for number in range(len(self.shards))]
            self._write_lines(SKIPPED, (row for part in parts for row in part["skipped"]))
            self._write_lines(MANIFEST, (row for part in parts for row in part["maps"]))
        self.place.remove(PARTS)
        files = (SETTINGS, SKIPPED, MANIFEST, PROBE)
        self.place.remove_leftovers("|".join(map(re.escape, files)), deep=False)
        for folder, names in FOLDERS.items():
            self.place.remove_leftovers(names, folder)
        lines = self.place.read(SKIPPED).decode().splitlines()
        return [Unread(**json.loads(line)) for line in lines]

    def _settings_there(self) -> dict[str, Any]:
        try:
            there = json.loads(self.place.read(SETTINGS))
        except ValueError:
            there = None
        if not isinstance(there, dict):
            raise RunExistsError(f"{self.place.address} has a {SETTINGS} of something else.", ELSEWHERE)
        return there

    def _check_free(self) -> None:
        """Refuse a folder whose files could be taken for ours."""
        if foreign := [name for name in OURS if self.place.exists(name)]:
            raise RunExistsError(
                f"{self.place.address} has {foreign[0]} already, which coatseg features did not write.", ELSEWHERE
            )

    def _write_shard(self, number: int) -> Iterator[int]:
        indices = self.shards[number]
        lengths = [self.images.longest_id(index) for index in indices for _ in self.extractor.strides]
        maps: list[dict[str, Any]] = []
        skipped: list[dict[str, str]] = []
        name = f"{number:05}"
        with FORMATS[self.plan.format](self.place, name, lengths) as add:
            for batch in self._batches(indices):
                for unread in batch:
                    if isinstance(unread, Unread):
                        skipped.append({"id": unread.id, "file": unread.file, "reason": unread.reason})
                for read, made in self._maps([read for read in batch if isinstance(read, Read)]):
                    for stride, tensor in made.items():
                        array = self._array(tensor, read)
                        stored = add(read.sample.id, stride, array)
                        maps.append(row(read, self.extractor.strides.index(stride), stride, array, *stored))
                yield len(batch)
        self.place.write(self._part(number), _json({"maps": maps, "skipped": skipped}))

    def _batches(self, indices: Sequence[int]) -> Iterator[list[Read | Unread]]:
        read: list[Read | Unread] = []
        for image in ahead(self._read, indices, self.workers):
            read.append(image)
            if len(read) == self.plan.batch_size:
                yield read
                read = []
        if read:
            yield read

    def _read(self, index: int) -> Read | Unread:
        """Read an image, and skip it if it is too small to have maps."""
        read = self.images[index]
        if isinstance(read, Read):
            height, width = read.sample.image.shape[:2]
            least = self.extractor.least_size
            if min(height, width) < least:
                reason = f"{read.file or read.sample.id} has {height}x{width} pixels; the least is {least}x{least}."
                return Unread(read.sample.id, read.file, reason)
        return read

    def _maps(self, reads: Sequence[Read]) -> Iterator[tuple[Read, Maps]]:
        if not reads:
            return
        batch = collate([read.sample for read in reads], self.images.info, [False] * len(reads)).to(self.device)
        pictures = self.pictures
        with torch.inference_mode(), self.autocast():  # pictures go through some layers once more
            with nullcontext() if pictures is None else pictures.watching():
                made = self.extractor(batch.images, batch.sizes)
            if pictures is not None:
                for number, (read, maps) in enumerate(zip(reads, made, strict=True)):
                    pictures.draw(number, read, maps)
        yield from zip(reads, made, strict=True)

    def _array(self, tensor: torch.Tensor, read: Read) -> MapArray:
        array = tensor.to(getattr(torch, self.plan.dtype)).cpu().numpy()
        if self.plan.dtype == "float16" and np.isinf(array).any() and tensor.isfinite().all():
            raise ConfigError(
                f"The maps of {read.sample.id} reach {tensor.abs().max():.4g}, beyond float16's 65504.",
                "Choose dtype=float32.",
            )
        return np.ascontiguousarray(array)

    def _part(self, number: int) -> str:
        return f"{PARTS}/{number:05}.json"

    def _done(self, number: int) -> bool:
        return self.place.exists(self._part(number))

    def _write_lines(self, name: str, rows: Iterator[Mapping[str, Any]]) -> None:
        with self.place.writing(name) as file:
            for each in rows:
                file.write(_json(each) + b"\n")


def row(read: Read, level: int, stride: int, array: MapArray, path: str, offset: int | None) -> dict[str, Any]:
    """Make a line of the manifest.

    `level` counts the maps that are kept from fine to coarse; `size` is what the network saw, which may be resized.
    """
    return {
        "id": read.sample.id,
        "file": read.file,
        "original_size": list(read.sample.original_size),
        "size": list(read.sample.image.shape[:2]),
        "level": level,
        "stride": stride,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "path": path,
        "offset": offset,
    }


def check_same(there: Mapping[str, Any], now: Mapping[str, Any], place: Place) -> None:
    """Refuse to go on in a folder that was begun otherwise.

    Raises:
        RunExistsError: the settings differ; the first that do are listed.
    """
    differ = [name for name in {**there, **now} if there.get(name) != now.get(name)]
    if differ:
        listed = "; ".join(f"{name} {there.get(name)} there, {now.get(name)} now" for name in differ[:3])
        raise RunExistsError(
            f"{place.address} has feature maps that were made otherwise: {listed}.",
            "Choose another output=...; or give the same options and images, and it goes on where it stopped.",
        )


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


def _json(content: Any, indent: int | None = None) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=indent).encode()
