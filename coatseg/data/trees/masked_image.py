"""A sample on disk: an image and the file of its truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MaskedImage:
    """One sample on disk: its id in the split, its image file and its mask file."""

    id: str
    image: Path
    mask: Path
