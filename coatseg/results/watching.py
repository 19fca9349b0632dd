"""What modules are handed while a network runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def watched(module: nn.Module) -> Iterator[list[tuple[Any, ...]]]:
    """Give a list that gains the positional arguments of each call of a module, until the context ends."""
    calls: list[tuple[Any, ...]] = []
    handle = module.register_forward_pre_hook(lambda _, given: calls.append(given))
    try:
        yield calls
    finally:
        handle.remove()
