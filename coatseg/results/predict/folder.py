"""The output folder of a prediction: its record, what is done in it, and how to resume."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from coatseg.data.images.sources import SKIPPED_FILE
from coatseg.errors import RunExistsError
from coatseg.system.fsspec_folders import Place
from coatseg.system.output import differing, read_settings, remove_left_overs

RECORD = "predict.json"
FOLDERS = ("labels", "objects", "panoptic", "segments", "pictures")
FILES = (RECORD, "instances.json", "panoptic.json", "legend.png", SKIPPED_FILE)


def begin(
    place: Place,
    settings: Mapping[str, Any],
    resume: bool,
    own_files: Sequence[str] = (),
    own_folders: Sequence[str] = (),
) -> None:
    """Record what is predicted and how; or resume what was begun in the same way.

    `own_files` and `own_folders` are those of the writer that are not FILES and FOLDERS.

    Raises:
        RunExistsError: predictions are there and `resume` is false, or they were made in another way.
        OutputError: the record cannot be written.
    """
    begun = place.exists(RECORD)
    files, folders = (*FILES, *own_files), (*FOLDERS, *own_folders)
    there = [name for name in (*files, *folders) if place.exists(name)]
    if there and not (resume and begun):
        raise RunExistsError(
            f"{place.address} has {there[0]} already.",
            "Choose another output=..."
            + (", or go on with resume=true." if begun else ": nothing there is coatseg's own."),
        )
    if begun:
        _check_same(place, settings)
    if resume:
        remove_left_overs(place, files, dict.fromkeys(folders, ".+"))
    if not begun:
        place.write(RECORD, json.dumps(settings, indent=2).encode() + b"\n")


def _check_same(place: Place, settings: Mapping[str, Any]) -> None:
    before = read_settings(place, RECORD)
    if before is None:
        raise RunExistsError(f"{place.address}/{RECORD} cannot be read.", "Choose another output=...")
    if changed := differing(before, settings):
        key = changed[0]
        raise RunExistsError(
            f"{place.address} was begun with {key}={before.get(key)}, and this is {settings.get(key)}.",
            "Resume with the same settings, or choose another output=...",
        )
