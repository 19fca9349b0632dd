"""Memory of a training step, and how memory and time grow with the image: CoaT here against timm's, on the CPU.

    python -m benchmarks.memory                     # both parts
    python -m benchmarks.memory --parts growth --precisions float32

Parts, each a table:
- peak: the highest resident memory of training steps above what the loaded model and the images take; for timm, for
  coatseg, and for coatseg with checkpointing, which computes blocks again in the backward pass.
- growth: time and memory of forward and training step from one size to the next, and by how much they grow where the
  pixels become four times as many: 4 is linear.

Every measurement is a fresh process, all under the same allocator (--allocator), and of the same steps: one to warm up,
which counts for the memory and not for the time, then --repeats. The kernel's own account of resident memory is read,
so Linux is needed. What both sides are given is told in benchmarks/sides.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import log, prod
from statistics import median

import timm

from benchmarks.alone import Measured, Task, alone
from benchmarks.options import ALLOCATORS, parse, parser, shown, size
from benchmarks.sides import CHECKPOINTING, OURS, PEER, PRECISIONS, SIDES, WORKS
from benchmarks.tables import Record, Table, megabytes, milliseconds, publish
from coatseg.models.backbones.variants import VARIANTS
from coatseg.structures import Size

QUICK = {
    "variants": ["coat_lite_small"],
    "size": (256, 512),
    "sizes": [(256, 256), (512, 512)],
    "precisions": ["float32"],
    "repeats": 2,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts that are asked for, and print their tables."""
    made = parser("memory", __doc__, repeats=3)
    made.add_argument("--variants", nargs="+", choices=VARIANTS, default=["coat_lite_small", "coat_small"])
    made.add_argument("--size", type=size, default=(512, 1024), help="of the images, in the part peak")
    made.add_argument(
        "--sizes", nargs="+", type=size, default=[(256, 256), (512, 512), (512, 1024), (1024, 2048)],
        help="of the images, in the part growth",
    )  # fmt: skip
    made.add_argument("--batch", type=int, default=1)
    made.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    made.add_argument("--sides", nargs="+", choices=SIDES, default=[PEER, OURS, CHECKPOINTING], help="in the part peak")
    made.add_argument("--allocator", choices=ALLOCATORS, default="default")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parse(made, QUICK, argv)
    if sys.platform != "linux":
        made.error("resident memory is read from Linux's /proc, which this system does not have")
    tables = [table for part in arguments.parts for table in PARTS[part](arguments)]
    compared = (
        f"coatseg against timm {timm.__version__}, batches of {arguments.batch}, allocator {arguments.allocator} for "
        f"all, a fresh process for each measurement. MB are 2^20 bytes above the loaded model."
    )
    publish("memory", compared, tables, arguments)


def peak(arguments: argparse.Namespace) -> Iterator[Table]:
    """Yield the table of the memory peaks of training steps."""
    yield Table(
        f"Training step at {shown(arguments.size)}",
        {
            "variant": lambda row: f"{row['variant']}, {row['precision']}",
            "side": lambda row: row["side"],
            "peak (MB)": lambda row: megabytes(row["peak"]),
            "of the first side's": lambda row: f"{row['share']:.2f}",
            "time (ms)": lambda row: milliseconds(median(row["seconds"])),
        },
        [row for variant in arguments.variants for at in arguments.precisions for row in peaks(variant, at, arguments)],
    )


def peaks(variant: str, at: str, arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield a record of every side for one variant and precision; the first side is what others are compared with."""
    first = None
    for side in arguments.sides:
        found = measured(side, variant, arguments.size, "training step", at, arguments)
        first = found.peak if first is None else first
        yield {
            "variant": variant,
            "precision": at,
            "side": side,
            "peak": found.peak,
            "share": found.peak / first,
            "seconds": found.seconds,
        }


def growth(arguments: argparse.Namespace) -> Iterator[Table]:
    """Yield the table of how time and memory grow from size to size."""
    yield Table(
        "From size to size",
        {
            "variant": lambda row: f"{row['variant']}, {row['precision']}",
            "work": lambda row: f"{row['work']}, {row['side']}",
            "size": lambda row: shown(row["size"]),
            "time (ms)": lambda row: milliseconds(median(row["seconds"])),
            "peak (MB)": lambda row: megabytes(row["peak"]),
            "time, for 4 times the pixels": lambda row: grown(row, "time_growth"),
            "memory, for 4 times the pixels": lambda row: grown(row, "memory_growth"),
        },
        [
            row
            for variant in arguments.variants
            for at in arguments.precisions
            for work in WORKS
            for side in (OURS, PEER)
            for row in grown_by_size(side, variant, work, at, arguments)
        ],
    )


def grown_by_size(side: str, variant: str, work: str, at: str, arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield a record of one side at every size, compared with the size before."""
    found = [measured(side, variant, extent, work, at, arguments) for extent in arguments.sizes]
    growths = [for_four_times(*both) for both in pairwise(zip(arguments.sizes, found, strict=True))]
    for extent, now, since in zip(arguments.sizes, found, [{}, *growths], strict=True):
        yield {
            "variant": variant,
            "precision": at,
            "work": work,
            "side": side,
            "size": extent,
            "seconds": now.seconds,
            "peak": now.peak,
            **since,
        }


def for_four_times(smaller: tuple[Size, Measured], larger: tuple[Size, Measured]) -> Record:
    """Return the factors by which time and memory grow for four times the pixels, if they follow a power law."""
    (before, then), (after, now) = smaller, larger
    if prod(before) == prod(after):
        return {}
    power = log(4) / log(prod(after) / prod(before))
    return {
        "time_growth": (median(now.seconds) / median(then.seconds)) ** power,
        "memory_growth": (now.peak / then.peak) ** power,
    }


def grown(row: Record, name: str) -> str:
    """Return a growth as text; empty for the first size, which has none."""
    return f"{row[name]:.2f}" if name in row else ""


def measured(side: str, variant: str, size: Size, work: str, at: str, arguments: argparse.Namespace) -> Measured:
    """Measure one side in a fresh process."""
    return alone(
        Task(
            side, variant, size, arguments.batch, work, at, arguments.allocator,
            repeats=arguments.repeats, warm_up=1, threads=arguments.threads,
        )
    )  # fmt: skip


PARTS = {"peak": peak, "growth": growth}


if __name__ == "__main__":
    main()
