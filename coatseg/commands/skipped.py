"""How a command ends that has skipped images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from coatseg.commands.console import say

if TYPE_CHECKING:  # importing a room of results takes the time that --help has not
    from coatseg.results.skipped import Skipped

SKIPPED = 1
"""The exit code where images were skipped."""
SHOWN = 20
"""How many images are named."""


def say_skipped(skipped: Sequence[Skipped], address: str) -> None:
    """Name the images, or the first of them and the file of an output folder that has them all."""
    from coatseg.results.skipped import SKIPPED_FILE

    for image in skipped[:SHOWN]:
        say(f"skipped: {image.reason.splitlines()[0]}")
    if len(skipped) > SHOWN:
        say(f"skipped: and {len(skipped) - SHOWN} more, in {address}/{SKIPPED_FILE}")
