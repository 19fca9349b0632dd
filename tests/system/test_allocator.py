"""What a process holds of a buffer that it has freed, seen from outside in a process of its own."""

import ctypes
import subprocess
import sys

import pytest

from coatseg.system.allocator import keep_memory

HELD = """
from pathlib import Path
import numpy

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

before = resident()
buffer = numpy.ones(64 * 2**20, numpy.uint8)
del buffer
print((resident() - before) // 2**20)
"""


def printed(code: str) -> list[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_kept_memory_stays_with_the_process() -> None:
    answer, held = printed(f"from coatseg.system.allocator import keep_memory\nprint(keep_memory())\n{HELD}")
    assert answer == "True"
    assert int(held) >= 60


def test_the_library_leaves_the_allocator_alone() -> None:
    uses = "import coatseg, coatseg.system.allocator, coatseg.commands.fit\ncoatseg.create_backbone('coat_lite_tiny')"
    assert int(printed(f"{uses}\n{HELD}")[0]) < 10


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_have_nothing_to_keep_with(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert not keep_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str | None) -> ctypes.CDLL:
        raise OSError(f"Error loading shared library {name}: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert not keep_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="Only glibc is told anything.")
def test_another_allocator_in_front_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    load = ctypes.CDLL

    class InFront:
        malloc_usable_size = load(None).calloc  # any other address

    monkeypatch.setattr(ctypes, "CDLL", lambda name: load(name) if name else InFront)
    assert not keep_memory()
