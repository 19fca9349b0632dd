"""JSON in files of a place: one value, or a line for each of many, as UTF-8."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from coatseg.system.places import Place


def encoded(content: Any, indent: int | None = None) -> bytes:
    """Give a value as JSON; one that holds a file name that is no UTF-8 is escaped."""
    try:
        return json.dumps(content, ensure_ascii=False, indent=indent).encode()
    except UnicodeEncodeError:
        return json.dumps(content, indent=indent).encode()


def write_lines(place: Place, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a line for each row; raises as `Place.writing` does."""
    with place.writing(name) as file:
        for row in rows:
            file.write(encoded(row) + b"\n")


def read_lines(place: Place, name: str) -> list[dict[str, Any]]:
    """Read the rows back."""
    return [json.loads(line) for line in place.read(name).splitlines()]  # of bytes: text has line ends beyond \n, \r
