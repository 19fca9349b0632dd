"""Folders at any address that fsspec knows: a disk's, `memory://`, a bucket's. Files in them are whole or not there."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO

import fsspec
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem

from coatseg.errors import ConfigError, RunExistsError
from coatseg.system.atomic import not_written, whole_file

LOCK = ".coatseg_lock"
"""The file that is locked while a run is at work; it stays behind if the run was cut short."""


class Place:
    """A folder, or a file, at an address; names are relative to it, with slashes.

    On a disk, files are flushed and moved into place; elsewhere they are sent under a temporary name, then moved.

    Raises:
        ConfigError: there is no such protocol, or its library is not installed.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        try:
            self.files, root = fsspec.core.url_to_fs(self.address)
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"{self.address} cannot be reached: {error}.",
                "Give a folder, or an address of fsspec's whose library is installed, such as s3:// with s3fs.",
            ) from error
        self.root = root.rstrip("/") or "/"

    @property
    def folder(self) -> Path | None:
        """The folder as a path, if it is on a disk."""
        return Path(self.root) if isinstance(self.files, LocalFileSystem) else None

    def path(self, name: str = "") -> str:
        """Return the path of a file within the file system."""
        return str(PurePosixPath(self.root, name)) if self.folder is None else str(Path(self.root, name))

    def exists(self, name: str = "") -> bool:
        """Return whether there is such a file or folder."""
        return bool(self.files.exists(self.path(name)))

    def read(self, name: str, begin: int | None = None, end: int | None = None) -> bytes:
        """Return the content of a file, or its bytes from `begin` up to `end`, which is not included."""
        content: bytes = self.files.cat_file(self.path(name), start=begin, end=end)
        return content

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file to be written, in any order; it appears when the context ends without an error.

        Raises:
            OutputError: it cannot be written.
        """
        if self.folder is not None:
            with whole_file(self.folder / name) as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            self._send(name, file)

    def write(self, name: str, content: bytes) -> None:
        """Write a file at once; raises as `writing` does."""
        with self.writing(name) as file:
            file.write(content)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that is in it, if it is there."""
        with suppress(FileNotFoundError):  # another process may have removed it
            self.files.rm(self.path(name), recursive=True)

    def remove_files(self, names: str, folder: str = "", *, deep: bool = False) -> None:
        """Remove the files of a folder, and of those below if `deep`, whose whole names match a regular expression.

        Only on a disk, where temporary files have random names; elsewhere `writing` has one temporary name for each
        file, and writes over what an earlier run left there.
        """
        if self.folder is not None:
            for path in (self.folder / folder).glob("**/*" if deep else "*"):
                if re.fullmatch(names, path.name) and path.is_file():
                    try:
                        path.unlink(missing_ok=True)
                    except OSError as error:
                        raise not_written(path, error) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs of coatseg out of a folder on a disk; at other addresses nothing keeps them out.

        Raises:
            RunExistsError: another run is at work there.
        """
        if self.folder is None:
            yield
            return
        try:
            with FileLock(self.folder / LOCK, timeout=0):
                yield
                (self.folder / LOCK).unlink(missing_ok=True)
        except Timeout as error:
            raise RunExistsError(f"Another run is writing to {self.address}.", "Wait until it has ended.") from error

    def _send(self, name: str, content: IO[bytes]) -> None:
        target = PurePosixPath(self.path(name))
        temporary = str(target.with_name(f".{target.name}.part"))
        try:
            self.files.makedirs(str(target.parent), exist_ok=True)
            with self.files.open(temporary, "wb") as file:
                shutil.copyfileobj(content, file)
            self.files.mv(temporary, str(target))
        except OSError as error:
            raise not_written(Path(self.address) / name, error) from error
