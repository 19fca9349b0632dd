"""Download of public datasets: fetch the archives that their readers state, and unpack them where the readers look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coatseg.errors import ConfigError, DownloadError, nearest
from coatseg.registry.names import table
from coatseg.system.archives import unpack
from coatseg.system.download import RemoteFile, download, exclusive
from coatseg.system.transfer import check_room


@dataclass(frozen=True)
class Archive:
    """An archive of a dataset, and where its content belongs; all paths are relative, with `/`.

    `brings` are the paths under the dataset's root that come from it; if all of them are there, it is not fetched, nor
    if one of `elsewhere` is there, a path that readers take instead. `into` is the folder under the root that it is
    unpacked into, `only` the folder inside it that is wanted, and `nested` are archives inside it that are unpacked
    too, as paths under `into`.
    """

    file: RemoteFile
    brings: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()
    into: str = "."
    only: str = ""
    nested: tuple[str, ...] = ()

    def is_there(self, root: Path) -> bool:
        """Return whether the archive's files are under `root`, so that it need not be fetched."""
        there = all((root / path).exists() for path in self.brings)
        return there or any((root / path).exists() for path in self.elsewhere)


def obtain(dataset: str, root: str | Path, *, keep_archives: bool = False) -> None:
    """Fetch a dataset by its registered name and unpack it under `root`, in the layout of data/README.md.

    What is there is not fetched again. An archive that is already in `root` is used, and stays; one that was fetched is
    deleted after unpacking, unless `keep_archives`. Of several processes one fetches while the others wait.

    Raises:
        ConfigError: this dataset has no download.
        DownloadError: the dataset needs an account, an archive cannot be had or unpacked, or the disk is too full.
    """
    root = Path(root)
    readers = table("dataset")
    if account := getattr(readers.get(dataset), "account", ""):
        raise DownloadError(f"{dataset} is given only to those with an account.", account.format(root=root))
    archived = {name: reader.archives for name, reader in readers.items() if hasattr(reader, "archives")}
    if dataset not in archived:
        raise ConfigError(f"There is no download of {dataset!r}.", nearest(dataset, archived))
    if not _missing(archived[dataset], root):
        return
    with exclusive(root):
        archives = _missing(archived[dataset], root)  # another process may have fetched them in the meantime
        _check_room(dataset, archives, root, keep_archives)
        for archive in archives:
            _bring(archive, root, keep_archives)


def _missing(archives: Sequence[Archive], root: Path) -> list[Archive]:
    return [archive for archive in archives if not archive.is_there(root)]


def _check_room(dataset: str, archives: Sequence[Archive], root: Path, keep: bool) -> None:
    """Raise if the disk has no room for the files and archives; images take the same room packed and unpacked."""
    unpacked = sum(archive.file.size or 0 for archive in archives)
    packed = [archive.file.size or 0 for archive in archives if not (root / archive.file.name).exists()]
    check_room(root, unpacked + (sum(packed) if keep else max(packed, default=0)), f"{dataset} with its archives")


def _bring(archive: Archive, root: Path, keep: bool) -> None:
    own = (root / archive.file.name).exists()
    path = download(archive.file, root)
    try:
        unpack(path, root / archive.into, only=archive.only, nested=archive.nested)
    except DownloadError:
        if not own:
            path.unlink()
        raise
    if not own and not keep:
        path.unlink()
    if not archive.is_there(root):
        gone = next(place for place in archive.brings if not (root / place).exists())
        raise DownloadError(
            f"{archive.file.url} is unpacked in {root}, but brought no {gone}: its publisher has changed it.",
            "Put the files where data/README.md says.",
        )
