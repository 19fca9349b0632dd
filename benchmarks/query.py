"""Query heads: coatseg's against transformers' own models with the library's defaults, on the same CoaT, on the CPU.

    python -m benchmarks.query                                # time, memory, and ours on timm's CoaT
    python -m benchmarks.query --parts scores --steps 300     # what both have learnt after as many steps

Both sides train on the same batches of generated scenes, boxes for deformable_detr and rtdetr, panoptic segments for
mask2former and maskformer:
- coatseg: the task that `python train.py backbone=coat_lite_mini head=HEAD` builds, of the paper's sizes, with its
  optimizer, a fused AdamW.
- transformers: the library's model on `coatseg.register_transformers()`'s backbone, of the library's default sizes,
  with `torch.optim.AdamW(model.parameters())` of the same rate and decay, as people write it.

A step is zero_grad, forward with losses, backward, clipping of the gradient's norm and the optimizer's step. Both sides
start from the same backbone. Deformable DETR and MaskFormer of the library learn by default from their last decoder
layer only, ours from all, as in the papers; `--every-layer` has both do the same.

Parts, each a table:
- turns: time of a step, the sides in turn in one process.
- peak: the highest resident memory of steps above the loaded model, each side in a fresh process.
- timm: the time of our own head's step on our CoaT and on timm's, at 224x224, the only size that timm's takes.
- scores: loss and score on held-out scenes after --steps steps from the same seed; not among the default parts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean, median

import torch
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.alone import in_process
from benchmarks.options import ALLOCATORS, parse, parser, shown, size
from benchmarks.query_peers import PEERS
from benchmarks.query_sides import OURS, PEER, SIDES, Setting, Side
from benchmarks.sides import PRECISIONS
from benchmarks.tables import Record, Table, megabytes, milliseconds, publish
from benchmarks.timing import in_turn, speedup
from coatseg.commands.terminal.console import quiet_libraries
from coatseg.models.backbones.variants import VARIANTS
from coatseg.structures import Batch, parameter_count
from coatseg.system.allocator import keep_memory
from coatseg.system.measuring import PeakMemory

TIMM = "on timm's CoaT"
QUICK = {"heads": ["maskformer"], "size": (128, 128), "repeats": 2, "steps": 2, "val_images": 2}
TIMM_SIZE = (224, 224)
WARMING = (128, 128)
"""The size of a first step, before memory is read, so that the code of the side's libraries is loaded."""
SCORES = {"det": "box_AP50", "panoptic": "PQ"}
BATCHES = 4
"""How many batches the timed steps go through again and again."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts that are asked for, and print their tables."""
    made = parser("query", __doc__, repeats=10)
    made.add_argument("--heads", nargs="+", choices=PEERS, default=list(PEERS))
    made.add_argument("--variant", choices=VARIANTS, default="coat_lite_mini")
    made.add_argument("--small", action="store_true", help="of ours, the small version for CPUs, as head=small_HEAD")
    made.add_argument("--every-layer", action="store_true", help="the library's side learns from every decoder layer")
    made.add_argument("--size", type=size, default=(256, 256), help="height and width of the scenes, such as 256x256")
    made.add_argument("--batch", type=int, default=2)
    made.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=["float32"])
    made.add_argument("--parts", nargs="+", choices=PARTS, default=["turns", "peak", "timm"])
    made.add_argument("--steps", type=int, default=300, help="of the part scores")
    made.add_argument("--val-images", type=int, default=40, help="held-out scenes of the part scores")
    made.add_argument("--allocator", choices=ALLOCATORS, default="kept", help="of all sides, but of the part peak")
    arguments = parse(made, QUICK, argv)
    quiet_libraries()
    tables = [table for part in arguments.parts for table in PARTS[part](arguments)]
    sizes = "small" if arguments.small else "of the sizes of the papers"
    compared = (
        f"coatseg's heads, {sizes}, against transformers' models with the library's defaults, on {arguments.variant}; "
        f"AdamW, {arguments.batch} generated scenes of "
        f"{shown(arguments.size)} a step. Medians; ratios are the other side's over ours, in brackets the quartiles "
        f"over the rounds."
    )
    publish("query", compared, tables, arguments)


def turns(arguments: argparse.Namespace) -> Iterator[Table]:
    """Yield the table of the times of a step, the sides in turn."""
    _keep(arguments)
    records = []
    for head, at in _rows(arguments):
        setting = Setting(head, arguments.size, arguments, at)
        sides = {name: make(setting) for name, make in SIDES.items()}
        seconds = _timed(sides, setting.batches(BATCHES), arguments.repeats)
        parameters = {name: parameter_count(side.model) for name, side in sides.items()}
        ratio = speedup(seconds[PEER], seconds[OURS])
        records.append({"head": head, "precision": at, "seconds": seconds, "parameters": parameters, "ratio": ratio})
    columns = {
        "head": lambda row: f"{row['head']}, {row['precision']}",
        "coatseg (ms)": lambda row: milliseconds(median(row["seconds"][OURS])),
        "transformers (ms)": lambda row: milliseconds(median(row["seconds"][PEER])),
        "ratio": lambda row: str(row["ratio"]),
        "parameters (M)": lambda row: " and ".join(f"{count / 1e6:.1f}" for count in row["parameters"].values()),
    }
    yield Table(f"A training step, in turn in one process, allocator {arguments.allocator} for both", columns, records)


def peak(arguments: argparse.Namespace) -> Iterator[Table]:
    """Yield the table of the memory peaks, each side in a process of its own, the allocator as torch leaves it."""
    records = []
    for head, at in _rows(arguments):
        peaks = {name: in_process(measured_peak, name, head, arguments, at) for name in SIDES}
        records.append({"head": head, "precision": at, "peaks": peaks, "share": peaks[OURS] / peaks[PEER]})
    columns = {
        "head": lambda row: f"{row['head']}, {row['precision']}",
        "coatseg (MB)": lambda row: megabytes(row["peaks"][OURS]),
        "transformers (MB)": lambda row: megabytes(row["peaks"][PEER]),
        "of transformers'": lambda row: f"{row['share']:.2f}",
    }
    yield Table("Peak memory of training steps above the loaded model, a process a side", columns, records)


def measured_peak(name: str, head: str, arguments: argparse.Namespace, at: str) -> int:
    """Return the bytes that two steps of a side need above the loaded model, in this process."""
    torch.set_num_threads(arguments.threads)
    quiet_libraries()
    warming = Setting(head, WARMING, arguments, at)
    SIDES[name](warming).step(warming.batches(1)[0])
    del warming
    setting = Setting(head, arguments.size, arguments, at)
    side, batches = SIDES[name](setting), setting.batches(2)
    memory = PeakMemory(torch.device("cpu"))
    for batch in batches:
        side.step(batch)
    found = memory.above()
    if found is None:
        raise RuntimeError("resident memory is read from Linux's /proc, which this system does not have")
    return found


def on_timm(arguments: argparse.Namespace) -> Iterator[Table]:
    """Yield the table of our heads' steps on our CoaT and on timm's of the same variant."""
    _keep(arguments)
    records = []
    for head, at in _rows(arguments):
        ours = Setting(head, TIMM_SIZE, arguments, at)
        other = Setting(head, TIMM_SIZE, arguments, at, backbone=f"backbone=timm backbone.model={arguments.variant}")
        seconds = _timed({OURS: ours.ours(), TIMM: other.ours()}, ours.batches(BATCHES), arguments.repeats)
        ratio = speedup(seconds[TIMM], seconds[OURS])
        records.append({"head": head, "precision": at, "seconds": seconds, "ratio": ratio})
    columns = {
        "head": lambda row: f"{row['head']}, {row['precision']}",
        "coatseg (ms)": lambda row: milliseconds(median(row["seconds"][OURS])),
        "on timm's CoaT (ms)": lambda row: milliseconds(median(row["seconds"][TIMM])),
        "ratio": lambda row: str(row["ratio"]),
    }
    yield Table(f"Our heads on our CoaT and on timm's, {shown(TIMM_SIZE)}", columns, records)


def scores(arguments: argparse.Namespace) -> Iterator[Table]:
    """Yield the table of what both sides have learnt after as many steps of the same scenes from the same seed."""
    _keep(arguments)
    records = []
    for head, at in _rows(arguments):
        for name in SIDES:
            setting = Setting(head, arguments.size, arguments, at)
            side = SIDES[name](setting)
            losses = learn(side, setting)
            found = evaluate(name, side, setting)
            records.append({"head": head, "precision": at, "side": name, "losses": losses, **found})
    columns = {
        "head": lambda row: f"{row['head']}, {row['precision']}",
        "side": lambda row: row["side"],
        "first loss": lambda row: f"{row['losses'][0]:.2f}",
        "last losses": lambda row: f"{fmean(row['losses'][-10:]):.2f}",
        "score": lambda row: f"{row['score']:.4f} {row['metric']}",
    }
    yield Table(f"After {arguments.steps} steps; losses of the sides are sums of other terms", columns, records)


def learn(side: Side, setting: Setting) -> list[float]:
    """Train a side by the configuration's schedule, the same random state before each step, and return the losses."""
    steps = setting.arguments.steps
    schedule = LambdaLR(side.optimizer, setting.plan.task.schedule.make(total=steps, epoch=1))
    losses = []
    for number, batch in enumerate(setting.batches(steps)):
        torch.manual_seed(number)
        losses.append(side.step(batch))
        schedule.step()
    return losses


def evaluate(name: str, side: Side, setting: Setting) -> Record:
    """Return the score of a trained side on the held-out scenes."""
    side.model.eval()
    setting.task.reset_scores()
    for batch in setting.data.val_dataloader():
        setting.task.score(setting.predictions(name, side.model, batch), batch)
    metric = SCORES[setting.peer.task]
    return {"metric": metric, "score": setting.task.scores().summary()[metric]}


def _rows(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    return ((head, at) for head in arguments.heads for at in arguments.precisions)


def _timed(sides: Mapping[str, Side], batches: Sequence[Batch], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of steps; sides see the same batches, one after the other."""
    streams = {name: _again(batches) for name in sides}
    calls = {name: partial(_next_step, side, streams[name]) for name, side in sides.items()}
    return in_turn(calls, repeats)


def _again(batches: Sequence[Batch]) -> Iterator[Batch]:
    while True:
        yield from batches


def _next_step(side: Side, batches: Iterator[Batch]) -> float:
    return side.step(next(batches))


def _keep(arguments: argparse.Namespace) -> None:
    if arguments.allocator == "kept" and not keep_memory():
        raise SystemExit("the allocator cannot keep memory here: add --allocator default")


PARTS: Mapping[str, Callable[[argparse.Namespace], Iterator[Table]]] = {
    "turns": turns,
    "peak": peak,
    "timm": on_timm,
    "scores": scores,
}


if __name__ == "__main__":
    main()
