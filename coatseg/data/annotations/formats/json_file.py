"""The content of a json that a tool wrote, or an error that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coatseg.errors import DatasetError


def read_json(path: Path, mend: str) -> Any:
    """Read a json; `mend` says how to get a whole one where it is none.

    Raises:
        DatasetError: it cannot be read, or is no json.
    """
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no json: {error}.", mend) from error
