"""Images that a command skipped, as its output folder lists them."""

from __future__ import annotations

from dataclasses import dataclass

SKIPPED_FILE = "skipped.jsonl"


@dataclass(frozen=True)
class Skipped:
    """An image that was skipped: its id, its file ("" where it has none), and why."""

    id: str
    file: str
    reason: str
