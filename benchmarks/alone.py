"""One side of a comparison, measured in a fresh process, where no other side has warmed caches or filled memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.sides import SIDES, WORKS
from benchmarks.timing import in_turn
from coatseg.structures import Size
from coatseg.system.allocator import keep_memory
from coatseg.system.measuring import reset_peak, resident_memory

WARMING = ("coat_lite_tiny", (64, 64))
"""The model and image size to run once before memory is read, so that the code of the side's libraries is loaded."""


@dataclass(frozen=True)
class Task:
    """What one process measures; see benchmarks.sides for the names."""

    side: str
    variant: str
    size: Size
    batch: int
    work: str
    precision: str
    allocator: str
    repeats: int
    warm_up: int
    threads: int


@dataclass(frozen=True)
class Measured:
    """Seconds of each call after the warm-up; the most bytes above the loaded model, in all calls from the first on."""

    seconds: list[float]
    peak: int


def alone(task: Task) -> Measured:
    """Measure a task in a fresh process."""
    return in_process(measure, task)


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module's function in a fresh process, and return its result."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        return processes.submit(function, *arguments).result()


def measure(task: Task) -> Measured:
    """Load a task's model and images, run its work, and return time and memory."""
    torch.set_num_threads(task.threads)
    if task.allocator == "kept" and not keep_memory():
        raise RuntimeError("this process cannot have its allocator keep memory")
    make, work = SIDES[task.side], WORKS[task.work]
    variant, size = WARMING
    work(make(variant, size), torch.zeros(1, 3, *size), task.precision)()
    model, images = make(task.variant, task.size), torch.randn(task.batch, 3, *task.size)
    loaded = reset_peak()
    calls = {"work": work(model, images, task.precision)}
    seconds = in_turn(calls, task.repeats, task.warm_up)["work"]
    return Measured(seconds, resident_memory("VmHWM") - loaded)
