"""Settings of glibc's allocator that keep the memory which training frees and needs again a moment later."""

from __future__ import annotations

import ctypes
import sys

# Numbers of parameters in glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4

SETTINGS = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 256 * 2**20}
"""No buffer is mapped by itself, the top of the heap is never returned, and the heap grows by 256 MiB at a time."""


def keep_memory() -> bool:
    """Make glibc keep freed memory for this process, and return whether it does.

    By default glibc maps each buffer above a threshold (32 MiB at most) by itself and unmaps it when it is freed. The
    next operation then gets fresh pages, which the system has to find and fill with zeros one fault at a time: for
    feature maps that takes longer than most of the operations on them. Kept memory is reused without those faults. The
    price is that the process holds its peak until it ends; processes that it forks inherit the setting.

    Returns False and changes nothing on systems other than Linux, with a C library other than glibc, and where another
    allocator has been loaded in front of glibc's.
    """
    libc = _glibc()
    return libc is not None and all(libc.mallopt(parameter, value) == 1 for parameter, value in SETTINGS.items())


def _glibc() -> ctypes.CDLL | None:
    """Return glibc if this process allocates from it, else None."""
    if sys.platform != "linux":
        return None
    try:
        libc, process = ctypes.CDLL("libc.so.6"), ctypes.CDLL(None)
    except OSError:  # musl goes by another name
        return None
    if not (hasattr(libc, "gnu_get_libc_version") and hasattr(libc, "mallopt")):
        return None
    # An allocator in front replaces this with malloc, whose own address in some executables is that of a jump to it.
    addresses = {ctypes.cast(library.malloc_usable_size, ctypes.c_void_p).value for library in (libc, process)}
    return libc if len(addresses) == 1 else None
