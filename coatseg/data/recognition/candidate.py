"""What a folder may be: an export by name, why, and the options that train with it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OFFICIAL, TOOL, FORMAT, PLAUSIBLE = 4, 3, 2, 1
"""How sure a recogniser is: a published dataset, names that only one tool writes, a format, a mere likeness."""
PLAIN = re.compile(r"[\w./+-]+")
"""Text that neither Hydra, YAML nor a shell reads as something else."""


@dataclass(frozen=True)
class Candidate:
    """A folder read as the export `name`: `reason` is what was seen, in words that end a sentence.

    `options` are those of the data section after data.root, with the keys of nested ones below each other; `task` is
    the choice of task=, `sure` one of the numbers above, and `notes` are sentences about what the options do. `first`
    is what has to be done before the line works, a sentence; empty if nothing has.
    """

    name: str
    reason: str
    data: str
    options: Mapping[str, Any] = field(default_factory=dict)
    task: str = "seg"
    sure: int = TOOL
    notes: tuple[str, ...] = ()
    first: str = ""

    def data_arguments(self, root: str | Path) -> list[str]:
        """Return the arguments that choose and read the dataset, as they are typed but for the shell's quotes."""
        return [f"data={self.data}", f"data.root={_written(str(root))}", *_flat("data", self.options)]

    def arguments(self, root: str | Path) -> list[str]:
        """Return all arguments of a training."""
        return [*self.data_arguments(root), *([] if self.task == "seg" else [f"task={self.task}"])]

    def line(self, root: str | Path) -> str:
        """Return the arguments of a training as a line for a shell."""
        return " ".join(_for_shell(argument) for argument in self.arguments(root))


def _flat(key: str, value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [argument for name, below in value.items() for argument in _flat(f"{key}.{name}", below)]
    return [f"{key}={_written(value)}"]


def _written(value: Any) -> str:
    """Write a value as Hydra and YAML both read it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) else '"' + value.replace('"', '\\"') + '"'
    if isinstance(value, Sequence):
        return f"[{','.join(_written(item) for item in value)}]"
    return str(value)


def _for_shell(argument: str) -> str:
    return argument if re.fullmatch(r"[\w./+=,\[\]-]+", argument) else shlex.quote(argument)
