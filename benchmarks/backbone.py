"""CoaT here against timm's, on the CPU: forward and training step, in float32 and under bfloat16 autocast.

    python -m benchmarks.backbone
    python -m benchmarks.backbone --variants coat_lite_small --size 512x512 --batch 2 --parts turns

Parts, each a table:
- turns: both sides take turns in one process, under the same allocator (--allocator), with the same random weights. The
  share of the best rate is the time that the network's multiplications would take at the machine's best rate, which is
  measured with 1x1 convolutions on channels-last maps as the network has them, over the time that it took.
- processes: the forward as shipped, ours with kept memory, as the commands set it (coatseg.system.allocator), against
  timm's with the system's allocator; and what the allocator alone gives either side. Each measurement is a fresh
  process, and the sides' processes take turns.

What both are given is told in benchmarks/sides.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from statistics import median

import timm
import torch

from benchmarks.alone import Task, alone
from benchmarks.computation import best_rates, giga_multiplications
from benchmarks.options import ALLOCATORS, parse, parser, shown, size
from benchmarks.sides import OURS, PEER, PRECISIONS, WORKS, largest_difference, pair
from benchmarks.tables import Record, Table, milliseconds, publish
from benchmarks.timing import WARM_UP, in_turn, speedup
from coatseg.models.backbones.variants import VARIANTS
from coatseg.system.allocator import keep_memory

QUICK = {"variants": ["coat_lite_small"], "size": (256, 256), "repeats": 3, "processes": 1}

# Each comparison -> the side expected to be slower and the one expected to be faster, each with its allocator.
COMPARED = {
    "coatseg kept, timm default (as shipped)": ((PEER, "default"), (OURS, "kept")),
    "coatseg, default to kept": ((OURS, "default"), (OURS, "kept")),
    "timm, default to kept": ((PEER, "default"), (PEER, "kept")),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts that are asked for, and print their tables."""
    made = parser("backbone", __doc__, repeats=10)
    made.add_argument("--variants", nargs="+", choices=VARIANTS, default=["coat_lite_small", "coat_small"])
    made.add_argument("--size", type=size, default=(512, 512), help="height and width of the images, such as 512x512")
    made.add_argument("--batch", type=int, default=2)
    made.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    made.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    made.add_argument("--allocator", choices=ALLOCATORS, default="kept", help="of both sides, in the part turns")
    made.add_argument("--processes", type=int, default=3, help="fresh processes a side, in the part processes")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parse(made, QUICK, argv)
    tables = [table for part in arguments.parts for table in PARTS[part](arguments)]
    compared = (
        f"coatseg against timm {timm.__version__}, {arguments.batch} images of {shown(arguments.size)}, same weights. "
        f"Medians; ratios are timm's time over ours, in brackets the quartiles over the rounds."
    )
    publish("backbone", compared, tables, arguments)


def turns(arguments: argparse.Namespace) -> Iterator[Table]:
    """Yield the tables of the sides measured in turn, and of the best rates."""
    if arguments.allocator == "kept" and not keep_memory():
        raise SystemExit("The allocator cannot keep memory here: add --allocator default.")
    rates = [rates_of(variant, at, arguments) for variant in arguments.variants for at in arguments.precisions]
    best = {at: max(rate["best"] for rate in rates if rate["precision"] == at) for at in arguments.precisions}
    yield Table(
        f"In turn in one process, allocator {arguments.allocator} for both",
        {
            "variant": lambda row: row["variant"],
            "work": lambda row: f"{row['work']}, {row['precision']}",
            "coatseg (ms)": lambda row: milliseconds(median(row["seconds"][OURS])),
            "timm (ms)": lambda row: milliseconds(median(row["seconds"][PEER])),
            "ratio": lambda row: str(row["ratio"]),
            "GMACs": lambda row: f"{row['gmacs']:.1f}",
            "of the best rate": lambda row: f"{row['share']:.0%}",
            "features differ by": lambda row: f"{row['difference']:.0e}",
        },
        [row for variant in arguments.variants for row in measured_in_turn(variant, best, arguments)],
    )
    yield Table(
        "Best rates of 1x1 convolutions",
        {
            "convolutions of": lambda row: f"{row['variant']}, {row['precision']}",
            "GMACs a second": lambda row: f"{row['best']:.0f}",
            "at": lambda row: max(row["rates"], key=row["rates"].get),
        },
        rates,
    )


def rates_of(variant: str, at: str, arguments: argparse.Namespace) -> Record:
    """Return the best rates of one variant in one precision."""
    rates = best_rates(VARIANTS[variant], arguments.batch, arguments.size, at, max(5, arguments.repeats))
    return {"variant": variant, "precision": at, "best": max(rates.values()), "rates": rates}


def measured_in_turn(variant: str, best: dict[str, float], arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield a record of every work of one variant, its sides measured in turn."""
    models = pair(variant, arguments.size)
    images = torch.randn(arguments.batch, 3, *arguments.size)
    difference = largest_difference(models[OURS], models[PEER], images)
    # Counted on timm's model, which has no fused operations: the number is a property of the architecture.
    computed = giga_multiplications(models[PEER], arguments.batch, arguments.size)
    for work in arguments.works:
        for at in arguments.precisions:
            sides = {side: WORKS[work](model, images, at) for side, model in models.items()}
            seconds = in_turn(sides, arguments.repeats)
            yield {
                "variant": variant,
                "work": work,
                "precision": at,
                "seconds": seconds,
                "ratio": speedup(seconds[PEER], seconds[OURS]),
                "gmacs": computed[work],
                "share": computed[work] / best[at] / median(seconds[OURS]),
                "difference": difference,
            }


def processes(arguments: argparse.Namespace) -> Iterator[Table]:
    """Yield the table of forward passes measured in fresh processes, in turn."""
    yield Table(
        f"Forward in processes of their own, {arguments.processes} for each side and allocator, in turn",
        {
            "variant": lambda row: f"{row['variant']}, {row['precision']}",
            "compared": lambda row: row["compared"],
            "slower (ms)": lambda row: milliseconds(median(row["seconds"][0])),
            "faster (ms)": lambda row: milliseconds(median(row["seconds"][1])),
            "ratio": lambda row: str(row["ratio"]),
        },
        [
            row
            for variant in arguments.variants
            for at in arguments.precisions
            for row in measured_alone(variant, at, arguments)
        ],
    )


def measured_alone(variant: str, at: str, arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield the comparisons of one variant in one precision: each side under each allocator."""
    tasks = {
        (side, allocator): Task(
            side, variant, arguments.size, arguments.batch, "forward", at, allocator,
            repeats=arguments.repeats, warm_up=WARM_UP, threads=arguments.threads,
        )
        for side in (OURS, PEER)
        for allocator in ALLOCATORS
    }  # fmt: skip
    medians: dict[tuple[str, str], list[float]] = {key: [] for key in tasks}
    for _ in range(arguments.processes):
        for key, task in tasks.items():
            medians[key].append(median(alone(task).seconds))
    for compared, (slower, faster) in COMPARED.items():
        yield {
            "variant": variant,
            "precision": at,
            "compared": compared,
            "seconds": [medians[slower], medians[faster]],
            "ratio": speedup(medians[slower], medians[faster]),
        }


PARTS = {"turns": turns, "processes": processes}


if __name__ == "__main__":
    main()
