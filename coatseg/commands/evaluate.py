"""`coatseg evaluate checkpoint=...`: the metrics of a checkpoint, from what it holds itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coatseg.commands.arguments import read_keys
from coatseg.commands.console import friendly_errors, quiet_libraries, say, say_repairs
from coatseg.errors import ConfigError, RunExistsError

USAGE = """Usage: coatseg evaluate checkpoint=PATH [split=val] [output=DIR] [data=NAME] [inference=NAME] [KEY=VALUE ...]

Prints the metrics of a checkpoint and a table per class. The checkpoint holds its configuration; the keys of its
data, trainer, inference and task can be given anew, such as data.root=..., trainer.devices=2, inference.flip=true,
inference.window=[512,512] or task.boundary_iou=true. Modules of your own that it needs are named again,
plugins=[NAME]: a checkpoint imports nothing by itself. With output=DIR, report.md, scores.json, a picture of the
confusion matrix (for objects: of precision over recall) and one of the worst images (worst=8 of them; 0 for none) are
written there, and for objects detections.json, in COCO's results format. On a CPU under Linux freed memory stays with
the process, which is faster, unless keep_memory=false."""

OWN = ("checkpoint", "split", "output", "plugins", "worst", "keep_memory")
GROUPS = ("data", "inference")
"""The sections for which another file of their group can be chosen."""
SECTIONS = (*GROUPS, "trainer", "task")
ANYWHERE = {"accelerator": "auto", "devices": 1}
"""The trainer of a checkpoint may ask for a machine that is not this one; only its precision is kept."""


def main() -> None:
    """Read the command line and evaluate."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("--help", "-h"):
        print(USAGE)
        return
    with friendly_errors():
        evaluate_checkpoint(read_arguments(arguments))


def read_arguments(arguments: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE arguments; a path needs no quotes here."""
    example = "checkpoint=runs/NAME/checkpoints/best.ckpt"
    options = read_keys(arguments, "evaluate", OWN, SECTIONS, GROUPS, example)
    if options.get("checkpoint") is None:
        raise ConfigError("Which checkpoint?", f"Give {example}.")
    return options


def check_output(folder: Path) -> None:
    """Refuse to write where a run or another evaluation has written, before hours are spent.

    Raises:
        ConfigError: it is a file.
        RunExistsError: results are there.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"output={folder} is a file.", "Name a folder; a new one is made.")
    there = [name for name in ("report.md", "scores.json", "detections.json") if (folder / name).exists()]
    if there:
        raise RunExistsError(
            f"{folder} has {' and '.join(there)} already.", "Choose another output=...; nothing was changed."
        )


def evaluate_checkpoint(options: Mapping[str, Any]) -> None:
    """Build what the checkpoint holds, score it on a split, print, and write if asked to."""
    from coatseg.build import build_data
    from coatseg.check import check
    from coatseg.commands.machine import settle
    from coatseg.commands.result import result_of
    from coatseg.restore import restore_task
    from coatseg.schema import NonNegativeInt, fitting
    from coatseg.tasks.evaluation import evaluate
    from coatseg.training.checkpoints import RECORD, read_checkpoint
    from coatseg.training.detections import Detections
    from coatseg.training.report import terminal_table, write_report, write_scores
    from coatseg.training.trainer import make_trainer
    from coatseg.training.worst import WorstImages

    quiet_libraries()
    began = time.monotonic()
    if "output" in options:
        check_output(Path(str(options["output"])))
    path, split = Path(str(options["checkpoint"])), str(options.get("split", "val"))
    checkpoint = read_checkpoint(path)
    config = checkpoint[RECORD]["config"]
    named_anew = "name" in options.get("data", {})
    config = {
        **config,
        "data": options["data"] if named_anew else {**config["data"], **options.get("data", {})},
        "inference": {**(config.get("inference") or {}), **options.get("inference", {})},
        "task": {**config["task"], **options.get("task", {})},
        "trainer": {**ANYWHERE, "precision": config["trainer"].get("precision", "auto"), **options.get("trainer", {})},
        "plugins": options.get("plugins", []),
        "keep_memory": options.get("keep_memory", True),
    }
    if "name" in options.get("task", {}):
        raise ConfigError("task.name is the checkpoint's own.", "Set other keys of the task, or train it anew.")
    count = fitting(options.get("worst", 8), NonNegativeInt, "worst")
    check(config)
    settle(config["trainer"], config["keep_memory"])
    data = build_data(config, split)
    task = restore_task(path, checkpoint, config, data.info)
    say(data.verify((split,)))
    say_repairs(data, split)
    say(f"inference: {task.inference.words}")
    worst = WorstImages(data.info, count=count) if "output" in options and count else None
    detections = Detections(data.info)
    watching = [*([detections] if "output" in options else []), *([] if worst is None else [worst])]
    trainer = make_trainer(config["trainer"], watching)
    scores = evaluate(trainer, task, data, split)
    title = f"{config['head']['name']} on {config['backbone']['name']}, {data.info.name} {split}"
    say(terminal_table(scores, title))
    say(scores.headline())
    if "output" in options and trainer.is_global_zero:
        folder = Path(options["output"])
        step = int(checkpoint["global_step"])
        write_scores(folder, scores, result_of(task, trainer, checkpoint=path, step=step, split=split, began=began))
        detections.write(folder / "detections.json")
        facts = {"checkpoint": str(path), "inference": task.inference.words}
        say(f"report: {write_report(folder, scores, title, facts, worst=worst)}")


if __name__ == "__main__":
    main()
