"""The one family of errors that users see: what is wrong, and what to do about it.

Commands print them as one or two lines and leave with exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LISTED = 3
"""How many names a message lists."""


class CoatsegError(Exception):
    """An error that the user can mend. `what` says what is wrong, `mend` what to do."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what, mend)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what}\n{self.mend}" if self.mend else self.what


class ConfigError(CoatsegError):
    """A key, a value or a combination of them in the configuration is wrong."""


class MissingExtraError(ConfigError):
    """What was asked for needs a library that one of the package's extras installs; `mend` is the command."""


class DatasetNotFoundError(CoatsegError):
    """A dataset's files are not where they were looked for."""


class DatasetError(CoatsegError):
    """A dataset is there, but something in it is wrong: a split, a pair, a size, a label."""


class SplitNotFoundError(DatasetError):
    """A dataset is there, but without such a split, or without labels for it."""


class ImageError(CoatsegError):
    """An image file cannot be read."""


class WeightsError(CoatsegError):
    """A weights file is missing, damaged, or of another architecture."""


class DownloadError(CoatsegError):
    """A file could not be fetched or unpacked; nothing of it was left behind."""


class BrokenOffError(DownloadError):
    """A connection broke for good before the whole file had arrived."""


class UnreachableError(DownloadError):
    """An address does not answer, or has no such file. `reason` says in a few words what happened."""

    def __init__(self, what: str, mend: str, reason: str) -> None:
        super().__init__(what, mend)
        self.reason = reason


class CheckpointError(CoatsegError):
    """A checkpoint is missing, damaged, or does not fit what was asked."""


class RunExistsError(CoatsegError):
    """A run of that name, or other results, are already there."""


class OutputError(CoatsegError):
    """A file could not be written whole, and nothing of it was left behind, or the system refused to open it."""


class NameTooLongError(OutputError):
    """A file could not be written because its name is too long; files with shorter names can be."""


class ExportError(CoatsegError):
    """An exported file does not compute what the model does."""


class TrainingError(CoatsegError):
    """A training cannot usefully go on."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return a hint in words: the choice nearest to `name`, if one is near, and all choices."""
    names = sorted(choices)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listed = f"Choices: {', '.join(names)}."
    return f"Did you mean {close[0]}? {listed}" if close else listed


def listed(keys: Sequence[str]) -> str:
    """Return the first few keys in words, and how many more there are."""
    more = f", and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return ", ".join(keys[:LISTED]) + more
