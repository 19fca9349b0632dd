"""How far a command is that goes through images: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY_SECONDS = 20.0


@contextmanager
def counted(name: str, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Give what is called with the number of images after each batch; nothing is to be seen unless `shown`."""
    console = Console(highlight=False, markup=False, soft_wrap=True, quiet=not shown)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(name, total=total)
            yield lambda count: progress.advance(task, count)
        return
    began = last = time.monotonic()
    done = 0

    def count(more: int) -> None:
        nonlocal done, last
        done += more
        now = time.monotonic()
        if now - last >= EVERY_SECONDS:
            last = now
            left = timedelta(seconds=round((total - done) * (now - began) / max(1, done)))
            console.print(f"{name}: {done}/{total} images, {done / (now - began):.1f} images/s, ETA {left}")

    yield count
