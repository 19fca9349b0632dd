"""Write files so that they are there whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from coatseg.errors import NameTooLongError, OutputError

NAME_BYTES = 200
"""How many bytes from the end of a file's name its temporary file keeps: most systems allow 255 in all."""


@contextmanager
def whole_file(path: Path, mode: str = "wb") -> Iterator[IO[bytes]]:
    """Write to a temporary file beside `path`, then flush it to the disk and move it into place.

    A failure leaves what was at `path` untouched and nothing beside it. Errors of the disk become OutputError.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = os.fsencode(path.name)[-NAME_BYTES:].decode(errors="ignore")
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{name}.")
    except OSError as error:
        raise not_written(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, mode) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise not_written(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def temporary_names(names: str) -> str:
    """Return a regular expression of what `whole_file` calls files until they are whole, if their names match one."""
    return rf"\.({names})\.[a-z0-9_]{{8}}"


def not_written(path: Path, error: OSError) -> OutputError:
    """Return the error for a file that could not be written, with the reason and what to do."""
    if error.errno == errno.ENAMETOOLONG:
        return NameTooLongError(f"Cannot write {path}: {error.strerror}.", "Give the image's file a shorter name.")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    mend = (
        "Free some space and start again, a training with resume=auto, predict with resume=true"
        if full
        else "Make the folder writable"
    )
    return OutputError(
        f"Cannot write {path}: {error.strerror or error}.", f"{mend}, or choose another folder with output=..."
    )
