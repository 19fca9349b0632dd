"""The paths of a split: one for each, or one with the word SPLIT in it, for all of its names on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from coatseg.data.trees.splits import names_of_split
from coatseg.errors import ConfigError, nearest

SPLIT = "SPLIT"
"""Stands in a path for the name of a split, as it is called on disk."""

SplitPaths = str | Mapping[str, str]
"""One path, perhaps with the word SPLIT in it, or a path for each split."""


def is_of_all(stated: SplitPaths) -> bool:
    """Return whether one path is stated for all splits."""
    return isinstance(stated, str) and SPLIT not in stated


def path_of_split(root: Path, option: str, stated: SplitPaths, split: str) -> Path:
    """Return the path of a split, relative to `root`, under the first of its names that is there.

    Raises:
        ConfigError: `option` names none for it.
    """
    names = names_of_split(split)
    if isinstance(stated, str):
        paths = [root / stated.replace(SPLIT, name) for name in names]
    else:
        paths = [root / stated[name] for name in names if name in stated]
        if not paths:
            raise ConfigError(f"data.{option} names nothing for the split {split!r}.", nearest(split, stated))
    return next((path for path in paths if path.exists()), paths[0])
