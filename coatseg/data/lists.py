"""Text files of a dataset, such as lists of a split: a line an entry."""

from __future__ import annotations

from pathlib import Path

from coatseg.errors import DatasetError


def read_lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 text file, stripped; a byte order mark is passed over.

    Raises:
        DatasetError: it cannot be read, or is not in UTF-8.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not in UTF-8.", "Save it as UTF-8 text.") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
