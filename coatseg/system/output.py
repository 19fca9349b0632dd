"""Checks of an `output=` before hours are spent, and of a folder that an earlier run of the same command began."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coatseg.errors import ConfigError, OutputError
from coatseg.system.atomic import temporary_names
from coatseg.system.fsspec_folders import Place

ELSEWHERE = "Choose another output=...; nothing was changed."
"""What to do about a folder that belongs to something else."""
PROBE = ".coatseg_writable"
"""A file that is written to try whether that can be done."""


def check_folder(output: Path) -> None:
    """Raise if there is a file where a folder is meant.

    Raises:
        ConfigError: it is one.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(*_is_a_file(output))


def check_writable(place: Place) -> None:
    """Write an empty file to a folder and remove it.

    Raises:
        OutputError: that cannot be done, or the place is a file.
    """
    if place.folder is not None and place.folder.is_file():
        raise OutputError(*_is_a_file(place.address))
    place.write(PROBE, b"")
    place.remove(PROBE)


def _is_a_file(output: Path | str) -> tuple[str, str]:
    return f"output={output} is a file.", "Name a folder; a new one is made."


def read_settings(place: Place, name: str) -> dict[str, Any] | None:
    """Read the settings that an output was begun with, a JSON object; None if the file holds something else."""
    try:
        there = json.loads(place.read(name))
    except ValueError:
        return None
    return there if isinstance(there, dict) else None


def differing(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings that differ from those that an output was begun with, in their order."""
    return [name for name in {**there, **now} if there.get(name) != now.get(name)]


def remove_left_overs(place: Place, files: Iterable[str], folders: Mapping[str, str]) -> None:
    """Remove what processes were writing when they were killed, and nothing that is another's.

    `files` are the names of our files in the place itself. `folders` are our folders, each with a regular expression
    that the names of all files in it and below match.

    Raises:
        OutputError: a file cannot be removed.
    """
    place.remove_files(temporary_names("|".join(map(re.escape, (*files, PROBE)))))
    for folder, names in folders.items():
        place.remove_files(temporary_names(names), folder, deep=True)
