"""Download files, which are then there whole and verified or not at all. Knows nothing of datasets or backbones."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout
from rich.console import Console

from coatseg.errors import BrokenOffError, DownloadError, UnreachableError
from coatseg.system.transfer import CHUNK, check_room, disk_error, in_words, shown

TIMEOUT = 30  # seconds without a byte after which a connection counts as broken
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Seconds before each new try of a broken connection; a try that gets further than any before starts the row again."""
LATER = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)  # and every 5xx: worth another try
LOCK = ".download.lock"


@dataclass(frozen=True)
class RemoteFile:
    """A file at an address, with its size and checksum where they are known.

    `name` is the file's name in the folder that it is downloaded to; `size` is in bytes; `checksum` is "md5:...",
    "sha1:..." or "sha256:..." with all hexadecimal digits or the first ones, or empty where nobody states one.
    """

    url: str
    name: str
    size: int | None = None
    checksum: str = ""

    def __post_init__(self) -> None:
        if self.checksum and self.algorithm not in ("md5", "sha1", "sha256"):
            raise ValueError(f"{self.checksum!r} is no checksum of md5, sha1 or sha256.")

    @property
    def algorithm(self) -> str:
        """The name of the checksum's algorithm."""
        return self.checksum.partition(":")[0]

    @property
    def digits(self) -> str:
        """The hexadecimal digits of the checksum that are known."""
        return self.checksum.partition(":")[2].lower()


def download(file: RemoteFile, folder: Path) -> Path:
    """Download a file into a folder and return its path; a file of that name that is there already is only verified.

    A broken connection is resumed where it broke, if the server can do that. A download that was stopped from outside
    leaves a hidden part, which the next one continues if the whole can be verified by a checksum. Processes that may
    download the same file hold `exclusive(folder)`.

    Raises:
        UnreachableError: the address does not answer, or has no such file.
        BrokenOffError: the connection broke for good. What came is kept if the whole can be verified by a checksum.
        DownloadError: the file has another size or checksum than is known of it, or the disk has no room for it.
            Nothing is kept.
    """
    target, part = folder / file.name, folder / f".{file.name}.part"
    if target.exists():
        _verify(target, file, str(target), f"Remove it to fetch it again from {file.url}.")
        return target
    again = f"Try again, or fetch the file by other means and put it at {target}."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.checksum:  # what was left of an earlier download could be of another version
            part.unlink(missing_ok=True)
        with part.open("ab") as sink:
            _receive_all(file, sink, folder, again)
            os.fsync(sink.fileno())
        _verify(part, file, file.url, again, "; nothing was kept")
        part.replace(target)
    except BaseException as error:
        wrong = isinstance(error, DownloadError | OSError) and not isinstance(error, BrokenOffError)
        if wrong or not file.checksum:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise disk_error(f"write {target}", error) from error
        raise
    return target


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Let one process at a time fetch into a folder; others wait here, and then look again for what they need.

    Raises:
        DownloadError: the folder cannot be made or written.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(
                f"Waiting for another process that fetches into {folder}"
            )
            lock.acquire()
    except OSError as error:
        raise disk_error(f"write to {folder}", error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink()  # while it is held; whoever waits for it looks whether it is still there
        lock.release()


class _BrokenError(Exception):
    """The connection broke. `total` is the size in bytes that the whole file should have, where that is known."""

    def __init__(self, reason: str, total: int | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.total = total


def _receive_all(file: RemoteFile, sink: IO[bytes], folder: Path, again: str) -> None:
    """Receive what the sink does not have yet, over as many connections as it takes."""
    tries, furthest = 0, 0
    while True:
        try:
            _receive(file, sink, folder, again)
            return
        except _BrokenError as broken:
            sink.flush()
            received = sink.tell()
            tries = 0 if received > furthest else tries + 1
            furthest = max(received, furthest)
            if tries < len(PAUSES):
                time.sleep(PAUSES[tries])
                continue
            if not received:
                raise _unreachable(file, broken.reason, again) from broken
            of = f" of {broken.total}" if broken.total else ""
            kept = "what came is kept, and the next try goes on from it" if file.checksum else "nothing was kept"
            raise BrokenOffError(f"{file.url} broke off after {received}{of} bytes; {kept}.", again) from broken


def _receive(file: RemoteFile, sink: IO[bytes], folder: Path, again: str) -> None:
    """Receive over one connection, from where the sink ends if the server can do that, else from the start."""
    start = sink.tell()
    if file.size and start == file.size:
        return
    with _open(file, start, again) as answer:
        if start and getattr(answer, "status", None) != HTTPStatus.PARTIAL_CONTENT:
            start = _empty(sink)
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else file.size
        if file.size and total != file.size:
            raise DownloadError(f"{file.url} has {total} bytes, expected {file.size}; nothing was kept.", again)
        check_room(folder, (total or start) - start, file.name)
        line = f"Going on with {file.url} after {in_words(start)}" if start else f"Downloading {file.url}"
        with shown(file.name, total, line) as show:
            for chunk in _chunks(answer, total):
                sink.write(chunk)
                show(sink.tell())
    received = sink.tell()
    if total and received < total:
        raise _BrokenError("it broke off", total)
    if total and received > total:
        raise DownloadError(f"{file.url} sends more than the {total} bytes expected; nothing was kept.", again)


def _open(file: RemoteFile, start: int, again: str) -> Any:
    """Request the file from byte `start` on; a server may ignore that and send all of it."""
    headers = {"User-Agent": "coatseg"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        return urllib.request.urlopen(urllib.request.Request(file.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return _open(file, 0, again)
        if error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in LATER:
            raise _BrokenError(str(error), file.size) from error
        raise _unreachable(file, str(error), again) from error
    except (OSError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error))
        if start:  # it answered before
            raise _BrokenError(reason, file.size) from error
        raise _unreachable(file, reason, again) from error


def _chunks(answer: Any, total: int | None) -> Iterator[bytes]:
    try:
        while chunk := answer.read1(CHUNK):  # what there is: a chunk that breaks off in the middle is not lost
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(error), total) from error


def _empty(sink: IO[bytes]) -> int:
    sink.seek(0)
    sink.truncate()
    return 0


def _unreachable(file: RemoteFile, reason: str, again: str) -> UnreachableError:
    return UnreachableError(f"{file.url} cannot be fetched: {reason}.", again, reason)


def _verify(path: Path, file: RemoteFile, place: str, mend: str, kept: str = "") -> None:
    """Raise if a file, new or already there, has another size or checksum than is known of it."""
    size = path.stat().st_size
    if file.size and size != file.size:
        raise DownloadError(f"{place} has {size} bytes, expected {file.size}{kept}.", mend)
    if not file.checksum:
        return
    digest = hashlib.new(file.algorithm)
    with path.open("rb") as content, shown(f"{file.algorithm} of {file.name}", size) as show:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            show(content.tell())
    found = digest.hexdigest()
    if not found.startswith(file.digits):
        dots = "" if len(file.digits) == len(found) else "..."
        raise DownloadError(
            f"{place} has {file.algorithm} {found[: len(file.digits)]}{dots}, expected {file.digits}{dots}{kept}.", mend
        )
