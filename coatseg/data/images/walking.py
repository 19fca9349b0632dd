"""Walk the files below a folder, behind symbolic links too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from coatseg.errors import ImageError


def walk(folder: Path, skip: Path | None = None) -> Iterator[Path]:
    """Yield every file below a folder, in no order; its path is by the names of links, wherever they lead.

    Hidden files and folders, whose names begin with a dot, are passed over, and so is the folder `skip`, by whichever
    links it is reached. A link that leads back to a folder above is not followed, as it would never end; two links to
    one folder are both followed.

    Raises:
        ImageError: a folder cannot be listed.
    """
    yield from _below(folder, (Path(os.path.realpath(folder)),), None if skip is None else Path(os.path.realpath(skip)))


def _below(folder: Path, above: tuple[Path, ...], skip: Path | None) -> Iterator[Path]:
    """Yield the files below `folder`; `above` are the real paths of the folders that led to it, itself the last."""
    try:
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise ImageError(
            f"The folder {folder} cannot be listed: {error.strerror}.", "Check its permissions."
        ) from error
    for entry in shown:
        path = folder / entry.name
        if not entry.is_dir():
            yield path
            continue
        real = Path(os.path.realpath(path)) if entry.is_symlink() else above[-1] / entry.name
        endless = entry.is_symlink() and any(one.is_relative_to(real) for one in above)
        if not endless and real != skip:
            yield from _below(path, (*above, real), skip)
