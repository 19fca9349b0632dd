"""What the splits of a dataset of one's own may be called on disk."""

from __future__ import annotations

from collections.abc import Mapping

SPLIT_ALIASES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""For each split its names on disk, in the order in which they are looked for; others have one name."""
