"""Splits by the names of folders, files and lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

NAMES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""The names that tools give to splits, and the split."""


def split_of(path: str) -> str | None:
    """Return the split that the last fitting word of a path names, as in annotations/instances_train2017.json."""
    words = [word for word in re.split(r"[^a-z]+", path.lower()) if word in NAMES]
    return NAMES[words[-1]] if words else None


def by_split(paths: Iterable[str]) -> dict[str, str]:
    """Map the splits, train first, to the first path that names each."""
    found: dict[str, str] = {}
    for path in paths:
        split = split_of(path)
        if split is not None:
            found.setdefault(split, path)
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def trains(splits: Mapping[str, str]) -> bool:
    """Return whether there are splits to train and to validate on."""
    return {"train", "val"} <= splits.keys()


def without_split(path: str) -> str:
    """Return a path without the folder that names a split, as data.images and data.masks are written."""
    return "/".join(part for part in path.split("/") if split_of(part) is None) or "."


def place_of(folders: Iterable[str]) -> str:
    """Return the folder that a reader is told for these: what they share, but for the folders that name splits.

    Where there is no split to validate on, they are those of the first split that there is.
    """
    folders = list(folders)
    there = by_split(folders)
    if trains(there):
        return shared_by(map(without_split, folders))
    first = next(iter(there), None)
    return shared_by(folder for folder in folders if split_of(folder) == first)


def shared_by(folders: Iterable[str]) -> str:
    """Return the folder that all of these are in, or are; "." is the root."""
    parts = [[] if folder == "." else folder.split("/") for folder in folders]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "/".join(shared) or "."


def split_options(paths: Iterable[str]) -> dict[str, Any]:
    """Return what to say of splits named by these folders: nothing if they are all or none, else to split by a hash."""
    there = by_split(paths)
    return {"split_by": "fraction"} if there and not trains(there) else {}
