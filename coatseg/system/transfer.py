"""The check for disk space and the progress bar of downloading and unpacking large files."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from coatseg.errors import DownloadError

CHUNK = 1 << 20  # bytes moved at a time


def in_words(size: int) -> str:
    """Return a number of bytes as text, in MB or, from 1 GB on, in GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def check_room(folder: Path, size: int, what: str) -> None:
    """Check that `size` more bytes fit on the disk of a folder, which need not exist yet.

    Raises:
        DownloadError: they do not.
    """
    free = shutil.disk_usage(nearest_folder(folder)).free
    if size > free:
        raise DownloadError(
            f"{what} needs {in_words(size)}; on the disk of {folder} {in_words(free)} are free.",
            f"Free {in_words(size - free)}, or choose a folder on another disk.",
        )


def nearest_folder(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())


def disk_error(action: str, error: OSError) -> DownloadError:
    """Return the error for an action that failed on the disk, such as "write PATH", with the reason."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DownloadError(
        f"Cannot {action}: {error.strerror or error}; nothing was kept.",
        f"{'Free some space' if full else 'Make the folder writable'}, or choose another folder.",
    )


@contextmanager
def shown(name: str, total: int | None, line: str = "") -> Iterator[Callable[[int], None]]:
    """Show the progress over `total` bytes; yields a function to call with the number of bytes done so far.

    Prints `line`, if there is one, and on a terminal a bar under it with name, size, speed and time left.
    """
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if line:
        console.print(f"{line} ({in_words(total)})" if total else line)
    if not console.is_terminal:
        yield lambda done: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=total)
        yield lambda done: progress.update(task, completed=done)
