"""The one family of errors that users see: what is wrong, and what to do about it.

Commands print them as one or two lines and leave with exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LISTED = 3
"""How many keys a message lists."""


class CoatsegError(Exception):
    """Something its reader can mend. `what` says what is wrong, `mend` what to do."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what, mend)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}\n{self.mend}" if self.mend else self.what


class ConfigError(CoatsegError):
    """A key, value or combination of the configuration that cannot be."""


class DatasetNotFoundError(CoatsegError):
    """A dataset's files are not where they were looked for."""


class DatasetError(CoatsegError):
    """A dataset is there, but something in it is wrong: a split, a pair, a size, a label."""


class SplitNotFoundError(DatasetError):
    """A dataset is there without such a split, or without labels for it."""


class ImageError(CoatsegError):
    """An image file that cannot be read."""


class WeightsError(CoatsegError):
    """A weights file that is missing, damaged, or of another architecture."""


class DownloadError(CoatsegError):
    """A file that could not be fetched or unpacked; nothing of it was left behind."""


class BrokenOffError(DownloadError):
    """A connection that broke for good before all had come."""


class UnreachableError(DownloadError):
    """An address that does not answer, or has no such file. `reason` says in a few words how that showed."""

    def __init__(self, what: str, mend: str, reason: str) -> None:
        super().__init__(what, mend)
        self.reason = reason


class CheckpointError(CoatsegError):
    """A checkpoint that is missing, damaged, or does not fit what was asked."""


class RunExistsError(CoatsegError):
    """A run of that name is already there."""


class OutputError(CoatsegError):
    """A file could not be written whole, and nothing of it was left behind, or the system refused to open it."""


class NameTooLongError(OutputError):
    """A file could not be written since no file may be called so; others can."""


class ExportError(CoatsegError):
    """A file in another format that does not compute what the model does."""


class TrainingError(CoatsegError):
    """A training that cannot usefully go on."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Say in words which choices there are, the nearest to `name` first."""
    names = sorted(choices)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = f"Choices: {', '.join(names)}."
    return f"Did you mean {close[0]}? {listed}" if close else listed


def listed(keys: Sequence[str]) -> str:
    """List the first few keys, and say how many more there are."""
    more = f", and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return ", ".join(keys[:LISTED]) + more
