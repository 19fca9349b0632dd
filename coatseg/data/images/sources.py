"""Find the image files that `input=DIR|FILE|GLOB` names, and read them one by one, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from coatseg.data.images.other_formats import words_on_other_formats
from coatseg.data.images.reading import IMAGE_SUFFIXES, NO_IMAGES, read_image, stem_of
from coatseg.data.images.size_limit import MAX_PIXELS, any_pixels, checked_size
from coatseg.data.images.slides import FULL, Scale
from coatseg.data.images.statements.nodata import NoData
from coatseg.data.images.walking import walk
from coatseg.errors import ConfigError, ImageError
from coatseg.structures import Pixels

MAGIC = frozenset("*?[")
SHOWN = 3
"""How many skipped files a message names."""


@dataclass(frozen=True)
class Source:
    """One image file: its `address`, a path or an address of fsspec, and its `id`, unique and fit for file names.

    The id is the path below the input folder, `name`, without its suffix (or .ome.tif), such as "street/a"; files whose
    ids would be the same keep the suffix. `remote` means that the address is not a path.
    """

    id: str
    name: str
    address: str
    remote: bool = False


@dataclass(frozen=True)
class Sources:
    """The images of an input in the order of their paths, and the addresses of files among them that are no images."""

    images: tuple[Source, ...]
    others: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def words(self) -> str:
        """How many images there are and which other files are skipped, in words."""
        images = f"{len(self.images)} image{'s' * (len(self.images) != 1)}"
        if not self.others:
            return images
        names = ", ".join(PurePosixPath(address).name for address in self.others[:SHOWN])
        more = ", ..." if len(self.others) > SHOWN else ""
        verb = "are no images and are" if len(self.others) > 1 else "is no image and is"
        return f"{images}; {len(self.others)} other file{'s' * (len(self.others) != 1)} {verb} skipped: {names}{more}"


def find_sources(given: str | Path, *, output: str | Path | None = None) -> Sources:
    """Find the images of a folder and those below it, of one file, or of a pattern with *, ** and ?.

    `given` is a local path or any address of fsspec, such as memory://images. Images are told by their suffix. Hidden
    files and folders are skipped, and so is `output`, which may lie in the input folder. Links in a local folder are
    followed, and ids are by their names.

    Raises:
        ConfigError: there are no files, or no images among them; or the output is the folder of the images.
    """
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    try:
        local = Path(given).exists()  # a path may look like an address: a::b
        system, path = (LocalFileSystem(), str(Path(given).absolute())) if local else fsspec.core.url_to_fs(str(given))
        single, folder = system.isfile(path), system.isdir(path)
        if single:
            base, files = path.rpartition("/")[0], [path]
        elif folder:
            skip = None if output is None else Path(output)
            base, files = path, [str(file) for file in walk(Path(path), skip)] if local else system.find(path)
        else:
            base = _fixed_part(path)
            files = [found for found in system.glob(path) if system.isfile(found)] if base != path else []
    except (ImportError, ValueError, OSError) as error:
        raise ConfigError(f"input={given} cannot be opened: {error}.", "Check the address.") from error
    base = base.rstrip("/")
    within = {file: PurePosixPath(file[len(base) :].lstrip("/")) for file in sorted(files)}
    within_output = None if output is None else _below(base, str(output), system)
    if within_output == "" and not single:
        raise ConfigError(f"output={output} is the folder of the images.", "Name another; it may be new and lie in it.")
    kept = {
        file: name
        for file, name in within.items()
        if not any(part.startswith(".") for part in name.parts)
        and not (within_output and str(name).startswith(f"{within_output}/"))
    }
    images = [file for file, name in kept.items() if _is_image(name)]
    if not images:
        others = words_on_other_formats(kept.values())
        kinds = f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}.{others and ' '}{others}"
        if not kept and not folder:
            raise ConfigError(f"input={given} names no file.", "Give a folder, a file, or a pattern such as 'a/*.jpg'.")
        raise ConfigError(f"input={given} {'has' if not single else 'is'} no image.", kinds)
    ids = _ids([kept[file] for file in images])
    remote = not isinstance(system, LocalFileSystem)
    found = tuple(
        Source(image_id, str(kept[file]), str(system.unstrip_protocol(file)) if remote else file, remote)
        for image_id, file in zip(ids, images, strict=True)
    )
    return Sources(found, tuple(file for file in kept if file not in set(images)))


@contextmanager
def fetched(source: Source) -> Iterator[Path]:
    """Yield the path of a local file of a source: its own, or a copy that is deleted afterwards.

    Raises:
        ImageError: it cannot be fetched.
    """
    if not source.remote:
        yield Path(source.address)
        return
    import fsspec

    system, path = fsspec.core.url_to_fs(source.address)
    with tempfile.TemporaryDirectory(prefix="coatseg-") as folder:
        local = Path(folder) / PurePosixPath(path).name
        try:
            with system.open(path, "rb") as remote, local.open("wb") as file:
                shutil.copyfileobj(remote, file)
        except OSError as error:
            raise ImageError(f"{source.address} cannot be fetched: {error}.", "Check the address.") from error
        try:
            yield local
        except ImageError as error:  # it names the copy
            raise ImageError(error.what.replace(str(local), source.address), error.mend) from error


def read_source(
    source: Source,
    channels: int,
    bands: Sequence[int] | None = None,
    max_pixels: int = MAX_PIXELS,
    nodata: NoData | None = None,
    scale: Scale = FULL,
) -> Pixels:
    """Read a whole image, upright: (H, W, channels) uint8, uint16 or float32, with the mean where it holds no data.

    See `read_image`.

    Raises:
        ImageError: it is unreadable, empty or cut short, has more than `max_pixels`, or other channels or pixel types.
    """
    with fetched(source) as path, any_pixels():
        checked_size(path, channels, bands, max_pixels, scale)
        pixels = whole_image(path, channels, bands, scale)
        return pixels if nodata is None else nodata.filled(pixels, nodata.held(path))[0]


def whole_image(path: Path, channels: int, bands: Sequence[int] | None, scale: Scale = FULL) -> Pixels:
    """Read an image as `read_image` does; if it does not fit into memory, raise an ImageError of this image."""
    try:
        return read_image(path, channels, bands, scale=scale)
    except MemoryError as error:
        raise ImageError(f"{path} does not fit into memory.", "Lower max_pixels=..., or cut it into tiles.") from error


def _is_image(name: PurePosixPath) -> bool:
    return name.suffix.lower() in IMAGE_SUFFIXES and not name.name.endswith(NO_IMAGES)


def _below(base: str, output: str, system: Any) -> str | None:
    """Return the path of the output below a folder, empty if it is the folder itself, None if it lies elsewhere."""
    import fsspec
    from fsspec.implementations.local import LocalFileSystem

    other, path = fsspec.core.url_to_fs(output)
    if type(other) is not type(system):
        return None
    real = os.path.realpath if isinstance(system, LocalFileSystem) else str  # whichever links are on the way
    base, path = (f"{real(f'{folder}/').rstrip('/')}/" for folder in (base, path))
    return path.removeprefix(base).rstrip("/") if path.startswith(base) else None


def _fixed_part(pattern: str) -> str:
    """Return the folder above the first wildcard of a pattern, or the whole pattern if there is none."""
    parts = pattern.split("/")
    first = next((place for place, part in enumerate(parts) if MAGIC & set(part)), None)
    return pattern if first is None else "/".join(parts[:first])


def _ids(names: Sequence[PurePosixPath]) -> list[str]:
    ids = [stem_of(name) for name in names]
    before: list[str] = []
    while ids != before:  # a name may be the stem of another, as a.png of a.png.bmp
        counts, before = Counter(ids), ids
        ids = [taken if counts[taken] == 1 else str(name) for taken, name in zip(ids, names, strict=True)]
    return ids


SKIPPED_FILE = "skipped.jsonl"


@dataclass(frozen=True)
class Skipped:
    """An image that was skipped: its id, its file ("" where it has none), and the reason."""

    id: str
    file: str
    reason: str
