"""What the commands settle for the machine they run on, said in a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing it takes a second, which --help has not
    pass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # importing a room of results takes the time that --help has not
    pass
from collections.abc import Mapping
from typing import Any

from coatseg.commands.terminal.console import say
from coatseg.system.allocator import keep_memory
from coatseg.training.trainer import AUTO, automatic_precision, processor


def settle(trainer: Mapping[str, Any], keep: bool) -> None:
    """Have the allocator keep memory if `keep`, before there are big buffers, and tell the automatic precision.

    Memory is kept where the CPU computes. Beside an accelerator there are no big buffers that come and go, and what
    the reading processes hold would only be lost to the system.
    """
    accelerator = trainer.get("accelerator", AUTO)
    if keep and processor(accelerator) == "cpu" and keep_memory():
        say("freed memory is kept for the next step, which is faster on a CPU; keep_memory=false returns it")
    if trainer.get("precision") == AUTO:
        chosen = automatic_precision(accelerator)
        say(f"precision: {chosen.name}, as {chosen.reason}")
