"""`coatseg evaluate checkpoint=...`: score a checkpoint on a split; it holds the configuration of its model and data.

`coatseg evaluate weights=... experiment=...` scores a file of weights alone; model and data are typed as for a
training.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coatseg.commands.terminal.arguments import read_keys
from coatseg.commands.terminal.composition import compose_typed
from coatseg.commands.terminal.console import quiet_libraries, run_verb, say, say_first_look, say_repairs
from coatseg.errors import CheckpointError, ConfigError, RunExistsError

if TYPE_CHECKING:
    from coatseg.config.plan import Plan
    from coatseg.data.loading.module import DataModule
    from coatseg.tasks.base import Task

USAGE = """Usage: coatseg evaluate checkpoint=PATH [split=val] [output=DIR] [data=NAME] [inference=NAME] [KEY=VALUE ...]
       coatseg evaluate weights=NAME_OR_PATH experiment=NAME [split=val] [output=DIR] [KEY=VALUE ...]

Prints the metrics of a checkpoint and a table per class. The checkpoint holds its configuration; the keys of its data,
trainer, inference and task can be given anew, such as data.root=..., trainer.devices=2, inference.flip=true,
inference.window=[512,512] or task.boundary_iou=true. Modules of your own that it needs are named again, plugins=[NAME]:
a checkpoint imports nothing by itself. With output=DIR, report.md, scores.json, a picture of the confusion matrix (for
objects: of precision over recall; for segments: of PQ, SQ and RQ) and one of the worst images (worst=8 of them; 0 for
none) are written there, and for objects detections.json, in COCO's results format; where they have masks it holds
these, and detections_boxes.json the boxes. A json of images and categories without annotations, such as COCO's
image_info_*.json, is not scored: only these files are written. On a CPU under Linux freed memory stays with the
process, which is faster, unless keep_memory=false.

weights= scores a file that holds no configuration: a detector that CoaT's authors released, by its name or its path.
The model and its data are then typed as for python train.py: experiment=coco_mask_rcnn_coat_small_3x data.root=..."""

OWN = ("checkpoint", "weights", "split", "output", "plugins", "worst", "keep_memory")
PATHS = ("checkpoint", "weights", "output")
GROUPS = ("data", "inference")
"""The sections for which another file of their group can be chosen."""
SECTIONS = (*GROUPS, "trainer", "task")


def main() -> None:
    """Read the command line and evaluate."""
    run_verb(USAGE, lambda arguments: evaluate_checkpoint(read_arguments(arguments)))


def read_arguments(arguments: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE arguments; paths need no quotes.

    With weights=..., all keys but this command's own are composed as for a training, and returned under "config".
    """
    example = "checkpoint=runs/NAME/checkpoints/best.ckpt"
    if any(argument.startswith("weights=") for argument in arguments):
        own = [argument for argument in arguments if argument.partition("=")[0] in OWN]
        options = read_keys(own, "evaluate", OWN, example, verbatim=PATHS)
        if "checkpoint" in options:
            raise ConfigError("checkpoint and weights are both given.", "Score one at a time.")
        return {**options, "config": compose_typed([argument for argument in arguments if argument not in own])}
    options = read_keys(arguments, "evaluate", OWN, example, sections=SECTIONS, groups=GROUPS, verbatim=PATHS)
    if options.get("checkpoint") is None:
        raise ConfigError("Which checkpoint?", f"Give {example}.")
    return options


def check_output(folder: Path) -> None:
    """Raise if a run or another evaluation has written to `folder`, before hours are spent.

    Raises:
        ConfigError: it is a file.
        RunExistsError: it holds results.
    """
    from coatseg.system.output import ELSEWHERE, check_folder
    from coatseg.training.callbacks.detections import NAMES

    check_folder(folder)
    there = [name for name in ("report.md", "scores.json", *NAMES) if (folder / name).exists()]
    if there:
        raise RunExistsError(f"{folder} has {' and '.join(there)} already.", ELSEWHERE)


@dataclass(frozen=True)
class Subject:
    """What is scored: a task and its data, the plan of both, and the file and the training step of the weights."""

    plan: Plan
    data: DataModule
    task: Task
    path: Path
    step: int


def evaluate_checkpoint(options: Mapping[str, Any]) -> None:
    """Build the task of a checkpoint or a file of weights, score it on a split, and print or also write the scores."""
    from coatseg.config.build import check_tells_apart
    from coatseg.registry.options import NonNegativeInt, fitting
    from coatseg.tasks.evaluation import evaluate, result_of
    from coatseg.training.callbacks.detections import DetectionFiles
    from coatseg.training.callbacks.worst import WorstImages
    from coatseg.training.records.report import terminal_table, write_report, write_scores
    from coatseg.training.trainer import make_trainer

    quiet_libraries()
    began = time.monotonic()
    if "output" in options:
        check_output(Path(str(options["output"])))
    split = str(options.get("split", "val"))
    count = fitting(options.get("worst", 8), NonNegativeInt, "worst")
    subject = (_of_weights if "config" in options else _of_checkpoint)(options, split)
    plan, data, task = subject.plan, subject.data, subject.task
    check_tells_apart(plan.task.task, data.info)
    say_first_look(data, (split,))
    say_repairs(data, split)
    say(f"inference: {task.inference.words}")
    if data.lacks_truth(split):
        write_found(options, subject, split)
        return
    worst = WorstImages(data.info, count=count) if "output" in options and count else None
    detections = DetectionFiles(data.info)
    watching = [*([detections] if "output" in options else []), *([] if worst is None else [worst])]
    trainer = make_trainer(plan.trainer, watching)
    scores = evaluate(trainer, task, data, split)
    title = f"{plan.task.title}, {data.info.name} {split}"
    say(terminal_table(scores, title))
    say(scores.headline())
    if "output" in options and trainer.is_global_zero:
        folder = Path(options["output"])
        result = result_of(task, trainer, checkpoint=subject.path, step=subject.step, split=split, began=began)
        write_scores(folder, scores, result)
        detections.write(folder)
        facts = {"checkpoint": str(subject.path), "inference": task.inference.words}
        say(f"report: {write_report(folder, scores, title, facts, worst=worst)}")


def write_found(options: Mapping[str, Any], subject: Subject, split: str) -> None:
    """Write the objects that are found on a split that has images and no annotations; there is nothing to score.

    Raises:
        ConfigError: no output is given, or the task finds no objects.
    """
    from coatseg.data.loading.module import OBJECT_TRUTHS
    from coatseg.tasks.evaluation import evaluate
    from coatseg.training.callbacks.detections import DetectionFiles
    from coatseg.training.trainer import make_trainer

    data = subject.data
    told = f"{data.info.name} {split} has no annotations: there is no truth to score"
    if "output" not in options:
        raise ConfigError(f"{told}.", "Give output=DIR: the objects found are written there, for a server's scores.")
    if subject.task.needs not in OBJECT_TRUTHS:
        raise ConfigError(f"{told}, and this model finds no objects.", "Predict the images with coatseg predict.")
    detections = DetectionFiles(data.info)
    trainer = make_trainer(subject.plan.trainer, [detections])
    evaluate(trainer, subject.task, data, split)
    if trainer.is_global_zero:
        written = detections.write(Path(str(options["output"])))
        say(f"{told}; the objects found: {' and '.join(map(str, written))}")


def _of_checkpoint(options: Mapping[str, Any], split: str) -> Subject:
    """Build the data and the task of a checkpoint; options of the command line replace its own."""
    from coatseg.commands.terminal.machine import settle
    from coatseg.config.data import build_data
    from coatseg.config.read import read
    from coatseg.config.restore import read_trained
    from coatseg.training.trainer import ANYWHERE

    trained = read_trained(Path(str(options["checkpoint"])))
    config = trained.config
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
    plan = read(config)
    settle(plan.trainer, plan.keep_memory)
    data = build_data(plan, split)
    task = trained.build(plan.task, data.info, data.repairs(split))
    return Subject(plan, data, task, trained.path, trained.step)


def _of_weights(options: Mapping[str, Any], split: str) -> Subject:
    """Build the data and the task that were typed, and load a file of weights, which must hold the whole model."""
    from coatseg.commands.terminal.machine import settle
    from coatseg.config.data import build_data
    from coatseg.config.read import read
    from coatseg.config.restore import other_classes, untrained_task
    from coatseg.models.weights.loading import start_from

    config = {
        **options["config"],
        "plugins": options.get("plugins", []),
        "keep_memory": options.get("keep_memory", True),
    }
    plan = read(config)
    settle(plan.trainer, plan.keep_memory)
    data = build_data(plan, split)
    task = untrained_task(plan.task.untrained(), data.info, data.repairs(split))
    source = str(options["weights"])
    if (others := other_classes(source, data.info)) is not None:
        raise CheckpointError(f"{others}.", "Evaluate it on data with its classes.")
    for line in start_from(task.model, source, whole=True).lines():
        say(line)
    return Subject(plan, data, task, Path(source), 0)


if __name__ == "__main__":
    main()
