"""`coatseg benchmark backbone=... head=...`: measure the speed and memory of a model on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coatseg.commands.terminal.arguments import group_file, read_keys
from coatseg.commands.terminal.composition import choices, compose_typed
from coatseg.commands.terminal.console import quiet_libraries, run_verb, say
from coatseg.errors import ConfigError, nearest

if TYPE_CHECKING:  # importing it takes seconds, too long for --help
    from rich.table import Table

    from coatseg.structures import DatasetInfo, Size
    from coatseg.system.measuring import Measured
    from coatseg.tasks.base import Task

USAGE = """Usage: coatseg benchmark [backbone=NAME] [head=NAME] [task=NAME] [size=[512,512]] [batch_size=2]
                         [precision=auto]
       coatseg benchmark checkpoint=PATH [size=[512,512]] ...

Measures the forward pass of a model on random images: the median and the 90th percentile of its time, images a second,
and the peak of memory above the loaded model. With train=true it measures a training step: forward, losses against
random truth, backward, and the optimizer's step. size=[[512,512],[1024,1024]] measures one after the other.

The model is composed as coatseg train does, with random weights: groups backbone, head, auxiliary, task, loss and
optimizer, and keys such as head.width=128. The task is that of the head unless it is given. classes=19 (of objects 80)
and channels=3 are what the data would say. Or it is that of a checkpoint.

precision is Lightning's: auto, 32-true, bf16-mixed, 16-mixed, ...; accelerator=auto is a GPU if there is one.
batch_size=2 images go through together; batch= is taken as well. repeats=20 calls are timed after warm_up=3; threads=N
are those of the CPU. output=FILE.json keeps every time, and takes the place of an earlier file. On a CPU under Linux
freed memory stays with the process, as in a training, unless keep_memory=false."""

OWN = (
    "checkpoint", "size", "batch_size", "batch", "precision", "train", "classes", "channels", "accelerator", "repeats",
    "warm_up", "threads", "output", "keep_memory", "plugins",
)  # fmt: skip
COMPOSED = ("backbone", "head", "auxiliary", "task", "loss", "optimizer")
CLASSES, OBJECT_CLASSES = 19, 80


def main() -> None:
    """Read the command line and measure."""
    run_verb(USAGE, measure_typed, bare=True)


def measure_typed(arguments: list[str]) -> None:
    """Measure the model that the arguments describe."""
    benchmark(*read_arguments(arguments))


def read_arguments(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Split the arguments into options of the measurement and those that compose the model."""
    composing = [argument for argument in arguments if "=" in argument and _section(argument) in COMPOSED]
    rest = [argument for argument in arguments if argument not in composing]
    for argument in rest:
        key, equals, _ = argument.partition("=")
        if equals and key not in OWN:
            raise ConfigError(f"{key} is no key of coatseg benchmark.", nearest(key, (*OWN, *COMPOSED)))
    options = read_keys(rest, "benchmark", OWN, "backbone=coat_small", verbatim=("checkpoint", "output"))
    if composing and "checkpoint" in options:
        raise ConfigError(f"{composing[0]} is for another model than the checkpoint's.", "Leave one of them out.")
    return options, composing


def _section(argument: str) -> str:
    return argument.partition("=")[0].partition(".")[0]


def benchmark(options: Mapping[str, Any], composing: Sequence[str] = ()) -> list[Measured]:
    """Measure at every size, print a table, write it to a file if asked to, and return the measurements."""
    import torch

    from coatseg.commands.terminal.machine import settle
    from coatseg.registry.options import NonNegativeInt, PositiveInt, fitting
    from coatseg.structures import parameter_count
    from coatseg.system.measuring import cpu_model
    from coatseg.tasks.timed_passes import measured_at, placed
    from coatseg.training.trainer import make_trainer

    quiet_libraries()
    sizes = _sizes(options.get("size", [512, 512]))
    batch = _batch_size(options)
    train = fitting(options.get("train", False), bool, "train")
    repeats = fitting(options.get("repeats", 20), PositiveInt, "repeats")
    warm_up = fitting(options.get("warm_up", 3), NonNegativeInt, "warm_up")
    output = None if options.get("output") is None else Path(str(options["output"]))
    if output is not None:
        check_output(output)
    if "threads" in options:
        torch.set_num_threads(fitting(options["threads"], PositiveInt, "threads"))
    chosen = {"accelerator": options.get("accelerator", "auto"), "precision": options.get("precision", "auto")}
    task, info, named = _restored(options) if "checkpoint" in options else _composed(options, composing)
    settle(chosen, fitting(options.get("keep_memory", True), bool, "keep_memory"))
    trainer = make_trainer({**chosen, "devices": 1})
    device = placed(task, trainer)
    work = "training step" if train else "forward pass"
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()
    facts: dict[str, Any] = {
        "model": named,
        "parameters": parameter_count(task.model),
        "classes": len(info.classes),
        "work": work,
        "batch": batch,
        "precision": str(trainer.precision),
        "device": machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": _load(),
    }
    say(f"{named}, {facts['parameters'] / 1e6:.1f} M parameters, {len(info.classes)} classes")
    measured = [measured_at(task, info, trainer, size, batch, train, repeats, warm_up) for size in sizes]
    say(_table(f"{work[0].upper()}{work[1:]}, batches of {batch}, {trainer.precision}", sizes, measured, batch))
    for line in _caveats(facts, task, train, measured):
        say(line)
    if output is not None:
        _write(output, facts, sizes, measured)
    return measured


def _batch_size(options: Mapping[str, Any]) -> int:
    """Return how many images go through together; `batch`, the older word, is still taken."""
    from coatseg.registry.options import PositiveInt, fitting

    if "batch" in options and "batch_size" in options:
        raise ConfigError("batch and batch_size are one and the same.", "Leave batch out.")
    key = "batch" if "batch" in options else "batch_size"
    size: int = fitting(options.get(key, 2), PositiveInt, key)
    return size


def check_output(output: Path) -> None:
    """Raise if `output` cannot be written, before anything is measured.

    Raises:
        ConfigError: it is a folder.
        OutputError: its folder cannot be written to.
    """
    from coatseg.system.fsspec_folders import Place
    from coatseg.system.output import check_writable

    if output.is_dir():
        raise ConfigError(f"output={output} is a folder.", "Name a file, such as benchmark.json.")
    check_writable(Place(output.parent))


def _sizes(stated: Any) -> list[Size]:
    from coatseg.registry.options import PositiveInt, fitting

    several = isinstance(stated, list) and stated and all(isinstance(size, list) for size in stated)
    sizes = [[side, side] if isinstance(side, int) else side for side in (stated if several else [stated])]
    return [fitting(size, tuple[PositiveInt, PositiveInt], "size") for size in sizes]


def _composed(options: Mapping[str, Any], composing: Sequence[str]) -> tuple[Task, DatasetInfo, str]:
    """Compose and build a model with random weights for data with the stated classes and channels."""
    from coatseg.config.build import build_task
    from coatseg.config.combinations import gives, task_for
    from coatseg.config.read import read
    from coatseg.data.loading.random_batches import random_info
    from coatseg.registry.names import load_plugins
    from coatseg.registry.options import PositiveInt, fitting
    from coatseg.structures import LOGITS

    load_plugins(fitting(options.get("plugins", []), list[str], "plugins"))
    typed = dict(argument.split("=", 1) for argument in composing if "=" in argument)
    head = typed.get("head")
    if head in choices("head") and "task" not in typed:
        composing = [f"task={task_for(gives(group_file('head', head)['name']))}", *composing]
    plan = read({**compose_typed(list(composing)), "plugins": options.get("plugins", [])}).task
    dense = plan.kind.takes == LOGITS
    classes = fitting(options.get("classes", CLASSES if dense else OBJECT_CLASSES), PositiveInt, "classes")
    channels = fitting(options.get("channels", 3), PositiveInt, "channels")
    info = random_info(classes, channels)
    return build_task(plan, info, total=1), info, f"{plan.title}, random weights"


def _restored(options: Mapping[str, Any]) -> tuple[Task, DatasetInfo, str]:
    from coatseg.config.restore import read_trained
    from coatseg.registry.names import load_plugins
    from coatseg.registry.options import fitting

    for key in ("classes", "channels"):
        if key in options:
            raise ConfigError(f"{key} is the checkpoint's own.", "Leave it out.")
    load_plugins(fitting(options.get("plugins", []), list[str], "plugins"))
    trained = read_trained(Path(str(options["checkpoint"])))
    return trained.build(), trained.info, f"{trained.plan.title}, {trained.path}"


def _table(title: str, sizes: Sequence[Size], measured: Sequence[Measured], batch: int) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in ("height x width", "median (ms)", "90% within (ms)", "images/s", "peak memory (MB)"):
        table.add_column(column, justify="right")
    for (height, width), one in zip(sizes, measured, strict=True):
        table.add_row(
            f"{height}x{width}",
            f"{1000 * one.median:.1f}",
            f"{1000 * one.p90:.1f}",
            f"{batch / one.median:.2f}",
            "-" if one.peak is None else f"{one.peak / 2**20:.0f}",
        )
    return table


def _caveats(facts: Mapping[str, Any], task: Task, train: bool, measured: Sequence[Measured]) -> list[str]:
    """Return lines that tell what the numbers were measured on, and how far they hold."""
    from coatseg.structures import LOGITS

    load = "" if facts["load"] is None else f"; load before {facts['load']:.1f}, and what else ran counts too"
    lines = [f"on {facts['device']}, threads: {facts['threads']}, torch {facts['torch']}{load}"]
    if any(one.peak is not None for one in measured):
        lines.append("memory is above the loaded model and its images, in units of 2^20 bytes")
    if task.takes != LOGITS and not train:
        lines.append("the time of a detector depends on how many objects it finds, here in random images")
    return lines


def _load() -> float | None:
    """Return the system's load average over the last minute; None where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _write(path: Path, facts: Mapping[str, Any], sizes: Sequence[Size], measured: Sequence[Measured]) -> None:
    from coatseg.system.atomic import whole_file

    rows = [
        {"size": list(size), "median": one.median, "p90": one.p90, **asdict(one)}
        for size, one in zip(sizes, measured, strict=True)
    ]
    with whole_file(path) as file:
        file.write(json.dumps({**facts, "unit": "seconds, bytes", "sizes": rows}, indent=1).encode())
    say(f"every time: {path}")


if __name__ == "__main__":
    main()
