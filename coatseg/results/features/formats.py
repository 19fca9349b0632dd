"""The formats of stored feature maps: safetensors shards, an .npy file a map, or Zarr; each map has a manifest row.

Every map is a C-ordered array (channels, height, width). In the first two formats it begins at the row's `offset` in
the file `path`, so that numpy.memmap reads it without any of these libraries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from coatseg.errors import ConfigError, OutputError
from coatseg.results.features.names import file_name, path_name, single_name
from coatseg.system.atomic import not_written
from coatseg.system.fsspec_folders import Place

DTYPES = {"float32": "F32", "float16": "F16"}
"""The types of stored maps, with safetensors' names for them."""
ALIGNMENT = 64
ENTRY_ROOM = 160
"""Bytes that one map takes in a shard's header besides the id of its image."""
MANIFEST = "manifest.jsonl"
ZARR = "maps.zarr"

MapArray = npt.NDArray[np.floating[Any]]


class Stored(NamedTuple):
    """Where a map is stored: a path in the output folder, and the byte at which its array begins; None in Zarr."""

    path: str
    offset: int | None


Add = Callable[[str, int, MapArray], Stored]
"""Stores the map of an image id at a stride."""
Shard = Callable[[Place, str, Sequence[int]], Any]
"""Opens the shard of a name, given the largest length of the id of each map; a context that yields an Add."""


@contextmanager
def safetensors_shard(place: Place, name: str, id_lengths: Sequence[int]) -> Iterator[Add]:
    """Write maps to one safetensors file under the names ID/STRIDE, one after the other, holding none in memory.

    The header is at the beginning of such a file but known only at the end, so room is left for it; the format allows
    to pad it with blanks.

    Raises:
        OutputError: the ids are longer than was stated.
    """
    path = f"shards/{name}.safetensors"
    room = sum(length + ENTRY_ROOM for length in id_lengths) + 2
    begin = 8 + room + -(8 + room) % ALIGNMENT
    entries: dict[str, Any] = {}
    with place.writing(path) as file:
        file.seek(begin)
        end = 0

        def add(image_id: str, stride: int, array: MapArray) -> Stored:
            nonlocal end
            offset, end = end, end + array.nbytes
            kind = DTYPES[str(array.dtype)]
            entries[f"{path_name(image_id)}/{stride}"] = {
                "dtype": kind,
                "shape": list(array.shape),
                "data_offsets": [offset, end],
            }
            file.write(np.ascontiguousarray(array).data)
            return Stored(path, begin + offset)

        yield add
        _write_header(file, entries, begin)


def _write_header(file: IO[bytes], entries: dict[str, Any], begin: int) -> None:
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    if len(header) > begin - 8:
        raise OutputError("The ids of the images are too long for a shard's header.", "Choose format=npy.")
    file.seek(0)
    file.write((begin - 8).to_bytes(8, "little") + header.ljust(begin - 8))


@contextmanager
def npy_files(place: Place, name: str, id_lengths: Sequence[int]) -> Iterator[Add]:
    """Write each map to a file of its own, maps/ID.STRIDE.npy."""

    def add(image_id: str, stride: int, array: MapArray) -> Stored:
        path = f"maps/{file_name(image_id)}.{stride}.npy"
        with place.writing(path) as file:
            np.save(file, np.ascontiguousarray(array))
            offset = file.tell() - array.nbytes
        return Stored(path, offset)

    yield add


@contextmanager
def zarr_arrays(place: Place, name: str, id_lengths: Sequence[int]) -> Iterator[Add]:
    """Write each map to an array ID/STRIDE of the group maps.zarr, as one chunk, with Zarr's default compression."""
    group = zarr_group(place, "a")

    def add(image_id: str, stride: int, array: MapArray) -> Stored:
        # Slashes in an id would make groups of its folders.
        path = f"{single_name(image_id)}/{stride}"
        try:
            group.create_array(path, data=np.ascontiguousarray(array), chunks=array.shape, overwrite=True)
        except OSError as error:
            raise not_written(Path(place.address) / ZARR / path, error) from error
        return Stored(f"{ZARR}/{path}", None)

    yield add


def check_installed(chosen: str) -> None:
    """Raise if the library of a format is missing.

    Raises:
        ConfigError: Zarr is not installed.
    """
    if chosen == "zarr" and find_spec("zarr") is None:
        raise ConfigError("format=zarr needs Zarr, which is not installed.", 'pip install "coatseg[zarr]"')


def zarr_group(place: Place, mode: str) -> Any:
    """Open the group of maps; raise ConfigError if Zarr is not installed."""
    check_installed("zarr")
    import zarr

    if place.folder is not None:
        return zarr.open_group(str(place.folder / ZARR), mode=mode)
    store = zarr.storage.FsspecStore.from_url(f"{place.address.rstrip('/')}/{ZARR}", read_only=mode == "r")
    return zarr.open_group(store, mode=mode)


FORMATS: dict[str, Shard] = {"safetensors": safetensors_shard, "npy": npy_files, "zarr": zarr_arrays}
