"""The output folder of a prediction: its record, what is done in it, and how it is gone on with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coatseg.atomic import not_written, whole_file
from coatseg.errors import ConfigError, RunExistsError

RECORD = "predict.json"
SKIPPED = "skipped.jsonl"
OURS = ("labels", "objects", "pictures", "instances.json", "legend.png", SKIPPED)
LEFT_OVER = re.compile(r"\..+\.[a-z0-9_]{8}")
"""A file that was being written when its process was killed: in folders of ours, and beside them."""
BESIDE = re.compile(r"\.+(predict\.json|instances\.json|legend\.png|skipped\.jsonl|writable)(\.[a-z0-9_]{8})?")


def check_writable(folder: Path) -> None:
    """Make the folder if it is missing, and try to write there, before anything is loaded.

    Raises:
        ConfigError: it is a file.
        OutputError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output={folder} is a file.", "Name a folder; a new one is made.")
    probe = folder / ".writable"
    with whole_file(probe):
        pass
    probe.unlink()


def begin(folder: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Write down what will be predicted how; or go on with what was begun the same way.

    Raises:
        RunExistsError: predictions are there and `resume` is false, or they were made otherwise.
        OutputError: it cannot be written.
    """
    path = folder / RECORD
    there = [name for name in (RECORD, *OURS) if (folder / name).exists()]
    if there and not (resume and path.is_file()):
        raise RunExistsError(
            f"{folder} has {there[0]} already.",
            "Choose another output=..."
            + (", or go on with resume=true." if path.is_file() else ": nothing there is coatseg's own."),
        )
    if path.is_file():
        try:
            before = json.loads(path.read_bytes())
        except ValueError as error:
            raise RunExistsError(f"{path} cannot be read.", "Choose another output=...") from error
        if changed := [key for key in {**before, **settings} if before.get(key) != settings.get(key)]:
            key = changed[0]
            raise RunExistsError(
                f"{folder} was begun with {key}={before.get(key)}, and this is {settings.get(key)}.",
                "Resume with the same settings, or choose another output=...",
            )
    if resume:
        _clean(folder)
    if path.is_file():
        return
    with whole_file(path) as file:
        file.write(json.dumps(settings, indent=2).encode() + b"\n")


def _clean(folder: Path) -> None:
    """Delete what a killed process was writing."""
    found = [path for path in folder.iterdir() if BESIDE.fullmatch(path.name)]
    for name in OURS:
        found += [path for path in (folder / name).rglob(".*") if LEFT_OVER.fullmatch(path.name)]
    for path in found:
        try:
            path.unlink()
        except OSError as error:
            raise not_written(path, error) from error
