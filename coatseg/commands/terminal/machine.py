"""Settings that the commands choose for the machine they run on, printed in a line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coatseg.commands.terminal.console import say
from coatseg.system.allocator import keep_memory
from coatseg.training.trainer import AUTO, automatic_precision, processor


def settle(trainer: Mapping[str, Any], keep: bool) -> None:
    """Make the allocator keep freed memory if `keep`, and print the precision if it is chosen automatically.

    Call it before big buffers are allocated. Memory is kept only if the CPU computes: beside an accelerator no big
    buffers come and go, and what worker processes kept would only be lost to the system.
    """
    accelerator = trainer.get("accelerator", AUTO)
    if keep and processor(accelerator) == "cpu" and keep_memory():
        say("freed memory is kept for the next step, which is faster on a CPU; keep_memory=false returns it")
    if trainer.get("precision") == AUTO:
        chosen = automatic_precision(accelerator)
        say(f"precision: {chosen.name}, as {chosen.reason}")
