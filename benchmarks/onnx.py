"""ONNX Runtime against the model that it was exported from, on the CPU in float32.

    python -m benchmarks.onnx
    python -m benchmarks.onnx --variants coat_lite_small --heads fpn mask_rcnn --sizes 512x512

Models have random weights. Each is exported as `coatseg export` does, and the file is run by ONNX Runtime with as many
threads as torch has. Both sides take the same normalised image and give the same tensors: logits at the image's size,
or boxes, labels and scores, and masks of 28x28 pixels. Eager is the model under torch.inference_mode. The sides take
turns in one process.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.composed import composed
from benchmarks.options import ALLOCATORS, parse, parser, shown, size
from benchmarks.tables import Record, Table, milliseconds, publish
from benchmarks.timing import in_turn, speedup
from coatseg.commands.terminal.console import quiet_libraries
from coatseg.config.build import build_task
from coatseg.config.combinations import gives
from coatseg.config.read import read
from coatseg.config.restore import ModelRecord
from coatseg.models.backbones.variants import VARIANTS
from coatseg.results.export.beside_model import eager, images_of
from coatseg.results.export.facts import export_facts
from coatseg.results.export.graph import Graph, graph_of
from coatseg.results.export.to_onnx import Session, write
from coatseg.scenes.dataset import INFO
from coatseg.structures import TASK_CHOICES
from coatseg.system.allocator import keep_memory
from coatseg.tasks.base import Task

QUICK = {"variants": ["coat_lite_tiny"], "heads": ["fpn"], "sizes": [(256, 256)], "repeats": 3}
EAGER, RUNTIME = "eager", "ONNX Runtime"


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both sides for every model and size, and print a table."""
    made = parser("onnx", __doc__, repeats=10)
    made.add_argument("--variants", nargs="+", choices=VARIANTS, default=["coat_lite_small", "coat_small"])
    made.add_argument("--heads", nargs="+", default=["fpn", "mask_rcnn"], help="names of heads, as in head=NAME")
    made.add_argument("--sizes", nargs="+", type=size, default=[(512, 512)], help="heights and widths, such as 512x512")
    made.add_argument("--allocator", choices=ALLOCATORS, default="kept", help="of torch's side")
    arguments = parse(made, QUICK, argv)
    quiet_libraries()
    if arguments.allocator == "kept" and not keep_memory():
        made.error("the allocator cannot keep memory here: add --allocator default")
    columns = {
        "model": lambda row: f"{row['head']} on {row['variant']}",
        "image": lambda row: row["size"],
        "eager (ms)": lambda row: milliseconds(median(row["seconds"][EAGER])),
        "ONNX Runtime (ms)": lambda row: milliseconds(median(row["seconds"][RUNTIME])),
        "ratio": lambda row: str(row["ratio"]),
        "outputs differ by": lambda row: f"{row['difference']:.0e}",
    }
    compared = (
        "ONNX Runtime against the eager model, one image, float32. Medians; ratios are the eager time over ONNX "
        "Runtime's, in brackets the quartiles over the rounds. The difference is that of logits, or of scores."
    )
    title = f"In turn in one process, allocator {arguments.allocator}"
    publish("onnx", compared, [Table(title, columns, list(measured(arguments)))], arguments)


def measured(arguments: argparse.Namespace) -> Iterator[Record]:
    """Yield a record for every head on every variant at every size."""
    for variant in arguments.variants:
        for head in arguments.heads:
            task, graph, session = exported(variant, head)
            for at in arguments.sizes:
                images = images_of(INFO, at, 1, preprocess=False)
                sides = {EAGER: inferring(task, graph, images), RUNTIME: lambda s=session, i=images: s(i)}
                difference = largest_difference(sides[EAGER](), sides[RUNTIME]())
                seconds = in_turn(sides, arguments.repeats)
                ratio = speedup(seconds[EAGER], seconds[RUNTIME])
                facts = {"variant": variant, "head": head, "size": shown(at)}
                yield {**facts, "seconds": seconds, "ratio": ratio, "difference": difference}


def exported(variant: str, head: str) -> tuple[Task, Graph, Session]:
    """Build a model and export it; return its task, its graph and the opened file."""
    torch.manual_seed(0)
    task_name = TASK_CHOICES[next(iter(gives(head)))]
    config = composed(f"task={task_name}", f"backbone={variant}", f"head={head}", "data=scenes")
    task = build_task(read(config).task, INFO, total=1).eval()
    graph = graph_of(task.model, INFO, preprocess=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write(
            graph,
            images_of(INFO, (96, 128), 1, preprocess=False),
            path,
            export_facts(task, ModelRecord.of(config), graph),
        )
        return task, graph, Session(path)


def inferring(task: Task, graph: Graph, images: Tensor) -> Callable[[], list[Tensor]]:
    """Return a function that runs the eager model."""

    def work() -> list[Tensor]:
        with torch.inference_mode():
            return eager(task, images, graph)

    return work


def largest_difference(ours: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Return the largest difference of logits, or of objects' scores, as the order of objects may differ in ties."""
    place = 0 if len(ours) == 1 else 2
    count = min(len(ours[place]), len(found[place]))
    return float((ours[place][:count] - found[place][:count]).abs().max()) if count else 0.0


if __name__ == "__main__":
    main()
