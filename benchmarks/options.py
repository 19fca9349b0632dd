"""The command-line options that the benchmarks share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

ALLOCATORS = ("kept", "default")
"""glibc's allocator as the commands set it (coatseg.system.allocator), or as the system has it."""


def parser(name: str, description: str | None, *, repeats: int | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark; `repeats` is None for one that measures once."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if repeats is not None:
        made.add_argument("--repeats", type=int, default=repeats, help="timed calls of each side")
    made.add_argument("--threads", type=int, default=torch.get_num_threads())
    made.add_argument("--quick", action="store_true", help="small sizes and few repeats, where they are not given")
    made.add_argument("--output", type=Path, default=Path(f"runs/benchmarks/{name}.json"), help="the JSON file")
    return made


def parse(
    made: argparse.ArgumentParser, quick: Mapping[str, Any], argv: Sequence[str] | None = None
) -> argparse.Namespace:
    """Parse the command line, with `quick` as the defaults under --quick, and set the number of threads."""
    if made.parse_args(argv).quick:
        made.set_defaults(**quick)
    arguments = made.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    return arguments


def size(text: str) -> tuple[int, int]:
    """Return the (height, width) in a text HEIGHTxWIDTH."""
    height, _, width = text.partition("x")
    return int(height), int(width)


def shown(size: Sequence[int]) -> str:
    """Return a size as it is typed."""
    return "x".join(map(str, size))
