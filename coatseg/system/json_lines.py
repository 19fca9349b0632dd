"""JSON in the files of a place, as UTF-8: one value, or one line for each of many."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from coatseg.system.fsspec_folders import Place


def encoded(content: Any, indent: int | None = None) -> bytes:
    """Return a value as JSON; one that holds a file name that is not UTF-8 is escaped."""
    try:
        return json.dumps(content, ensure_ascii=False, indent=indent).encode()
    except UnicodeEncodeError:
        return json.dumps(content, indent=indent).encode()


def write_lines(place: Place, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write each row as a line of JSON; raises as `Place.writing` does."""
    with place.writing(name) as file:
        for row in rows:
            file.write(encoded(row) + b"\n")


def read_json_lines(place: Place, name: str) -> list[dict[str, Any]]:
    """Return the rows that `write_lines` wrote."""
    return [json.loads(line) for line in place.read(name).splitlines()]  # of bytes: text has line ends beyond \n, \r
