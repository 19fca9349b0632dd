"""Time and memory that work takes on this machine: medians of repeats, and the system's own account of memory."""

from __future__ import annotations

import ctypes
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measured:
    """The seconds of each repeat, and the bytes that the most demanding one needed above what was loaded before.

    `peak` is None where the system keeps no account of it.
    """

    seconds: tuple[float, ...]
    peak: int | None

    @property
    def median(self) -> float:
        """The seconds that half of the repeats took at most."""
        return median(self.seconds)

    @property
    def p90(self) -> float:
        """The seconds that nine of ten repeats took at most."""
        return quantiles(self.seconds, n=10, method="inclusive")[-1] if len(self.seconds) > 1 else self.seconds[0]


def measure(work: Callable[[], object], *, repeats: int, warm_up: int, device: torch.device) -> Measured:
    """Call `work` to warm up, which counts for the memory only, then time `repeats` calls of it."""
    memory = PeakMemory(device)
    for _ in range(warm_up):
        work()
    seconds = []
    for _ in range(repeats):
        _wait(device)
        began = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return Measured(tuple(seconds), memory.above())


class PeakMemory:
    """The peak of memory use since this was made: of a GPU's allocations, or of the process's resident memory.

    It is known on CUDA devices, and for CPUs on Linux.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._loaded: int | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._loaded = torch.cuda.memory_allocated(device)
        elif device.type == "cpu" and _CLEAR.exists():
            _return_freed_memory()
            self._loaded = reset_peak()

    def above(self) -> int | None:
        """Return how many bytes the peak is above what was in use at the beginning; None where that is not known."""
        if self._loaded is None:
            return None
        cuda = self.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self.device) if cuda else resident_memory("VmHWM")
        return max(0, peak - self._loaded)


def reset_peak() -> int:
    """Reset the peak of the resident memory and return the bytes that are resident now; on Linux.

    The peak of getrusage is inherited from the parent process; Linux's own begins with the program, and can be reset.
    """
    _CLEAR.write_text("5")
    return resident_memory("VmRSS")


def resident_memory(field: str) -> int:
    """Return a number of bytes from Linux's account of this process: VmRSS is the memory now, VmHWM its peak."""
    lines = _STATUS.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def cpu_model(listing: Path = Path("/proc/cpuinfo")) -> str:
    """Return the name of the processor, as Linux lists it or as Python knows it."""
    lines = listing.read_text().splitlines() if listing.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _return_freed_memory() -> None:
    """Make glibc return the memory that an earlier measurement freed, which would hide how much the next one uses."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
