"""Read feature maps back from their files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from coatseg.errors import DatasetNotFoundError
from coatseg.results.features.formats import MANIFEST, ZARR, MapArray, zarr_group
from coatseg.system.fsspec_folders import Place
from coatseg.system.json_lines import read_json_lines


def read_features(folder: str | Path) -> Features:
    """Open what `coatseg features` wrote: `read_features(folder)[id, stride]` is a map (channels, height, width).

    `folder` may be any address of fsspec's.

    Raises:
        DatasetNotFoundError: no finished feature maps are there.
    """
    place = Place(folder)
    if not place.exists(MANIFEST):
        raise DatasetNotFoundError(
            f"{place.address} has no {MANIFEST}, so no finished feature maps.",
            "Run `coatseg features ... output=...` again to the end: it goes on where it stopped.",
        )
    return Features(place)


class Features(Mapping[tuple[str, int], MapArray]):
    """Feature maps by (image id, stride), read when they are asked for; on a disk they are memory-mapped.

    `rows` are the manifest's lines: id, file, file_bytes, original_size, size, level, stride, shape, dtype, path and
    offset.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.rows: dict[tuple[str, int], dict[str, Any]] = {
            (row["id"], row["stride"]): row for row in read_json_lines(place, MANIFEST)
        }

    @property
    def ids(self) -> list[str]:
        """The images' ids, in order."""
        return list(dict.fromkeys(image_id for image_id, _ in self.rows))

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the maps, from fine to coarse."""
        return tuple(sorted({stride for _, stride in self.rows}))

    def __getitem__(self, key: tuple[str, int]) -> MapArray:
        row = self.rows[key]
        path, dtype, shape = row["path"], np.dtype(row["dtype"]), tuple(row["shape"])
        if row["offset"] is None:
            array: MapArray = self._zarr[path.removeprefix(f"{ZARR}/")][...]
            return array
        if self._place.folder is not None:
            return np.memmap(self._place.folder / path, dtype, "r", row["offset"], shape)
        length = int(np.prod(shape)) * dtype.itemsize
        content = self._place.read(path, row["offset"], row["offset"] + length)
        return np.frombuffer(content, dtype).reshape(shape)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _zarr(self) -> Any:
        return zarr_group(self._place, "r")
