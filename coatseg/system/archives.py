"""Unpack archives into folders: all of an archive appears or nothing of it, and nothing outside its folder."""

from __future__ import annotations

import errno
import gzip
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import dropwhile
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from coatseg.errors import DownloadError
from coatseg.system.transfer import CHUNK, check_room, disk_error, nearest_folder, shown

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # of a zip file with entries, and of one without
FROM_MACOS = "__MACOSX"  # a folder that macOS adds to zip files, of no use elsewhere

DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,  # a gzip stream that ends early
    LookupError,  # a hard link to an entry that is not there, an empty name
    struct.error,  # a header that ends early
    NotImplementedError,  # a compression that zipfile does not know, as damage often looks like
    ValueError,  # a name that is no text
    RuntimeError,  # a password is wanted, as damage may look like
)


@dataclass(frozen=True)
class _Entry:
    """An entry of an archive; `open` returns the content of a file, `target` is where a link points."""

    name: str
    kind: str  # "file", "folder", "link", or what it is called in errors
    open: Callable[[], IO[bytes] | None]
    target: str = ""


def unpack(archive: Path, folder: Path, *, only: str = "", nested: Collection[str] = ()) -> None:
    """Unpack a zip, tar or tar.gz file into a folder; files there that have the name of an entry are replaced.

    `only` names a folder inside the archive, whose content is all that is unpacked. `nested` names archives inside the
    archive, which are unpacked beside themselves and not kept. Everything is unpacked into a hidden folder first and
    moved into place when it is whole, folders before files. One process at a time may unpack an archive there.

    Raises:
        DownloadError: the archive is damaged, holds no `only` or `nested`, holds an entry that leads outside or is
            neither a file, a folder nor a link; or a folder lies where a file belongs, or the disk has no room. Nothing
            was unpacked then.
    """
    temporary = nearest_folder(folder) / f".{archive.name}.unpacking"
    try:
        shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
        temporary.mkdir()
        _unpack_into(archive, temporary, only, str(archive))
        for name in nested:
            inner = temporary / name
            if not inner.is_file():
                raise _damaged(str(archive), f"it holds no {name}")
            _unpack_into(inner, inner.parent, "", f"{name} in {archive}")
            inner.unlink()
        _check_free(temporary, folder, archive)
        _move(temporary, folder)
    except OSError as error:
        raise disk_error(f"unpack {archive} into {folder}", error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unpack_into(archive: Path, folder: Path, only: str, place: str) -> None:
    """Write the entries of an archive; links come last, so that no file can be written through one."""
    links: dict[PurePosixPath, str] = {}
    files = 0
    try:
        size, line = archive.stat().st_size, f"Unpacking {place}"
        with archive.open("rb") as raw, shown(archive.name, size, line) as show:
            entries = _zip_entries if raw.read(4) in ZIP_STARTS else _tar_entries
            raw.seek(0)
            for entry in entries(raw, folder, archive.name):
                path = _path_under(only, entry.name)
                _check_safe(entry, path or PurePosixPath(entry.name), place)
                if path is not None:
                    files += entry.kind != "folder"
                    if entry.kind == "link":
                        links[path] = entry.target
                    else:
                        _write(entry, folder / path)
                show(raw.tell())
    except DAMAGED as error:
        raise _damaged(place, str(error) or type(error).__name__) from error
    if not files:
        raise _damaged(place, f"it holds no {only}" if only else "it holds no file")
    for path, target in links.items():
        if not links.keys().isdisjoint(path.parents):
            raise _unsafe(place, f"'{path}', which lies in a link")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(target)


def _zip_entries(raw: IO[bytes], folder: Path, name: str) -> Iterator[_Entry]:
    with zipfile.ZipFile(raw) as archive:
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        check_room(folder, sum(member.file_size for member in members), f"Unpacking {name}")
        for member in members:
            kind = _kind_of(member)
            target = archive.read(member).decode() if kind == "link" else ""
            yield _Entry(member.filename, kind, partial(archive.open, member), target)


def _kind_of(member: zipfile.ZipInfo) -> str:
    """Return the kind of a zip entry; the upper half of its attributes is the Unix mode, or 0."""
    format_bits = stat.S_IFMT(member.external_attr >> 16)
    kinds = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
    return "folder" if member.is_dir() else kinds.get(format_bits, "device")


def _tar_entries(raw: IO[bytes], folder: Path, name: str) -> Iterator[_Entry]:
    check_room(folder, Path(raw.name).stat().st_size, f"Unpacking {name}")  # at least
    with tarfile.open(fileobj=raw, mode="r:*") as archive:
        for member in archive:
            if member.issym():
                yield _Entry(member.name, "link", lambda: None, member.linkname)
            elif member.isdir():
                yield _Entry(member.name, "folder", lambda: None)
            elif member.isreg() or member.islnk():  # a hard link becomes a file of the same content
                yield _Entry(member.name, "file", partial(archive.extractfile, member))
            else:
                yield _Entry(member.name, "device", lambda: None)
        _check_end(archive, raw)


def _check_end(archive: tarfile.TarFile, raw: IO[bytes]) -> None:
    """Raise if what follows the last entry is damaged.

    tarfile takes a header that it cannot read for the end of the archive, and does not check gzip's checksum.
    """
    rest = archive.fileobj
    if rest is raw:
        raw.seek(archive.offset)
        if raw.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError("a header cannot be read")
    while rest is not None and rest.read(CHUNK):  # gzip compares its checksum at the end
        pass


def _check_safe(entry: _Entry, path: PurePosixPath, place: str) -> None:
    """Raise for an entry that leads outside the folder on any system, and for a device.

    A link's target may go up only at its start: then links to links cannot lead outside either, whatever their order.
    """
    if _leads_outside(entry.name):
        raise _unsafe(place, f"{entry.name!r}, which leads outside its folder")
    if entry.kind == "device":
        raise _unsafe(place, f"{entry.name!r}, which is neither a file, a folder nor a link")
    if entry.kind == "link":
        parts = PurePosixPath(entry.target).parts
        down = list(dropwhile("..".__eq__, parts))
        depth = len(path.parts) - 1
        if len(parts) - len(down) > depth or _leads_outside("/".join(down)):
            raise _unsafe(place, f"{entry.name!r}, a link that leads outside, to {entry.target!r}")


def _leads_outside(name: str) -> bool:
    return any(path.anchor or ".." in path.parts for path in (PurePosixPath(name), PureWindowsPath(name)))


def _path_under(only: str, name: str) -> PurePosixPath | None:
    """Return the path of an entry relative to `only`, or None if it lies elsewhere."""
    path = PurePosixPath(name)
    if FROM_MACOS in path.parts or not path.is_relative_to(only):
        return None
    return path.relative_to(only)


def _write(entry: _Entry, path: Path) -> None:
    if entry.kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = entry.open()
    if content is not None:
        with content, path.open("wb") as file:
            shutil.copyfileobj(content, file, CHUNK)


def _check_free(source: Path, target: Path, archive: Path) -> None:
    """Raise if a folder lies where a file belongs, or a file where a folder belongs."""
    if not target.exists():
        return
    if _is_folder(source) != target.is_dir():
        kind = "folder" if target.is_dir() else "file"
        raise DownloadError(
            f"The {kind} {target} is in the way of what {archive} holds; nothing was unpacked.", "Move it elsewhere."
        )
    for entry in source.iterdir() if _is_folder(source) else ():
        _check_free(entry, target / entry.name, archive)


def _move(source: Path, target: Path) -> None:
    """Move a folder tree into place, in one step where nothing is there yet.

    Folders come before files, as a reader that finds a list of files then finds the files too.
    """
    if _is_folder(source) and target.is_dir():
        for entry in sorted(source.iterdir(), key=lambda entry: (not _is_folder(entry), entry.name)):
            _move(entry, target / entry.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # a folder of the target may be a link to another disk
            raise
        shutil.move(source, target)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _damaged(place: str, reason: str) -> DownloadError:
    first = reason.splitlines()[0]  # libraries list whatever they have tried
    return DownloadError(
        f"The archive {place} is damaged, or another one than expected: {first}; nothing was unpacked.",
        "Remove it and fetch it again.",
    )


def _unsafe(place: str, entry: str) -> DownloadError:
    return DownloadError(
        f"The archive {place} holds {entry}; nothing was unpacked.", "Fetch it from its publisher; do not unpack this."
    )
