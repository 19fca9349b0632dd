"""The images whose feature maps are made, of a folder or a dataset: read as in evaluation; broken ones are named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import fsspec

from coatseg.data.images.resizing import resize_image, size_within
from coatseg.data.images.size_limit import MAX_PIXELS
from coatseg.data.images.slides import FULL, Scale
from coatseg.data.images.sources import Skipped, Source, Sources, read_source
from coatseg.data.images.statements.nodata import NoData
from coatseg.errors import CoatsegError, ConfigError, ImageError
from coatseg.results.features.names import path_name
from coatseg.structures import Dataset, DatasetInfo, Pixels, Sample, Size


class FeatureImages(Protocol):
    """Images in a fixed order. `info` says how they are normalised; `digest` differs if the images do.

    `made` are the options by which they are read, by name, as plain values; `lengths` are the files' lengths in bytes,
    by id, where they are known.
    """

    info: DatasetInfo
    digest: str
    lengths: Mapping[str, int]
    made: Mapping[str, Any]

    def __len__(self) -> int: ...

    def longest_id(self, index: int) -> int:
        """Return the most bytes that an image's id can have as a path (see names.py), without reading the image."""
        ...

    def __getitem__(self, index: int) -> Sample | Skipped:
        """Read an image; if it cannot be read, return the reason instead of raising it."""
        ...


class FolderImages:
    """The images of `input=`. `sides` are the [short, long] that they are resized to; None keeps their sizes.

    `scale` is the level of slides and pyramids that is read. The digest is one of ids and addresses.
    """

    def __init__(
        self,
        sources: Sources,
        info: DatasetInfo,
        *,
        sides: tuple[int, int] | None = None,
        bands: Sequence[int] | None = None,
        nodata: NoData | None = None,
        max_pixels: int = MAX_PIXELS,
        scale: Scale = FULL,
    ) -> None:
        self.sources = sources
        self.info = info
        self.sides = sides
        self.bands = bands
        self.nodata = nodata
        self.max_pixels = max_pixels
        self.scale = scale
        self.made: Mapping[str, Any] = {"resized_to": sides, "bands": bands, **scale.settings}
        if nodata is not None:
            self.made = {**self.made, "nodata": nodata.value}
        self.lengths: Mapping[str, int] = {source.id: _length(source) for source in sources.images}
        self.digest = _digest(f"{source.id}\n{source.address}\n" for source in sources.images)

    def __len__(self) -> int:
        return len(self.sources)

    def longest_id(self, index: int) -> int:
        """Return the length of the id, in bytes."""
        return len(json.dumps(path_name(self.sources.images[index].id), ensure_ascii=False).encode())

    def __getitem__(self, index: int) -> Sample | Skipped:
        source = self.sources.images[index]
        try:
            image = read_source(source, self.info.channels, self.bands, self.max_pixels, self.nodata, self.scale)
        except ImageError as error:
            return Skipped(source.id, source.address, error.what)
        size = (image.shape[0], image.shape[1])
        return Sample(source.id, resized(image, self.sides), size, file=source.address)


class DatasetImages:
    """The images of a dataset's split, normalised as `info` says, whatever the dataset itself states.

    `options` are those that the dataset was made with, by the names that the user knows.

    Raises:
        ConfigError: the dataset's images have another number of channels.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        info: DatasetInfo,
        *,
        sides: tuple[int, int] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if dataset.info.channels != info.channels:
            raise ConfigError(
                f"data={dataset.info.name} has images of {dataset.info.channels} channels, the model takes "
                f"{info.channels}.",
                "Set data.channels or data.bands, or take a model for these images.",
            )
        self.dataset = dataset
        self.info = info
        self.sides = sides
        self.made: Mapping[str, Any] = {"resized_to": sides, "split": split, **(options or {})}
        self.lengths: Mapping[str, int] = {}
        self.digest = _digest([dataset.info.name, split, str(len(dataset))])

    def __len__(self) -> int:
        return len(self.dataset)

    def longest_id(self, index: int) -> int:
        """Return the length of the longest file name, in bytes."""
        return 255

    def __getitem__(self, index: int) -> Sample | Skipped:
        try:
            sample = self.dataset[index]
        except CoatsegError as error:
            return Skipped(str(index), "", error.what)  # its id would be known only from reading it
        return Sample(sample.id, resized(sample.image, self.sides), sample.original_size, file=sample.file)


def resized(image: Pixels, sides: tuple[int, int] | None) -> Pixels:
    """Return an image (H, W, C) resized to fit `sides`, [short, long], as in evaluation; None leaves it as it is."""
    if sides is None:
        return image
    size: Size = (image.shape[0], image.shape[1])
    return resize_image(image, size_within(size, *sides))


def normalised_by(info: DatasetInfo, mean: Sequence[float] | None, std: Sequence[float] | None) -> DatasetInfo:
    """Return the facts with another mean and deviation, where they are given."""
    return replace(info, mean=tuple(mean or info.mean), std=tuple(std or info.std))


def _length(source: Source) -> int:
    """Return a file's length in bytes; 0 if it is not there, such as a dangling link."""
    try:
        if not source.remote:
            return Path(source.address).stat().st_size
        system, path = fsspec.core.url_to_fs(source.address)
        return int(system.size(path) or 0)
    except OSError:
        return 0


def _digest(lines: Iterable[str]) -> str:
    digest = sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]
