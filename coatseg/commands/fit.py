"""One run: check, build, fit, evaluate the best checkpoint, write the report."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import torch

import coatseg
from coatseg.commands.terminal.console import first_process, say, say_first_look, say_repairs
from coatseg.commands.terminal.machine import settle
from coatseg.config.build import Built, build
from coatseg.config.plan import Plan
from coatseg.config.read import read
from coatseg.config.restore import other_classes
from coatseg.config.resume import check_resumable
from coatseg.errors import ConfigError, OutputError
from coatseg.models.weights.loading import LoadedWeights, start_from
from coatseg.structures import Scores, parameter_count
from coatseg.tasks.evaluation import evaluate, result_of
from coatseg.training.callbacks.checkpoints import read_checkpoint
from coatseg.training.callbacks.progress import RunProgress
from coatseg.training.callbacks.worst import WorstImages
from coatseg.training.records.curves import save_curves
from coatseg.training.records.metrics_table import MetricsTable
from coatseg.training.records.report import terminal_table, write_report, write_scores
from coatseg.training.run import Run, check_name, checkpoint_to_resume, create_run, goes_on
from coatseg.training.trainer import make_trainer

FOLDER_VARIABLE = "COATSEG_RUN_FOLDER"
"""The environment variable by which the processes that the first one starts know the run's folder."""


def fit(config: Mapping[str, Any]) -> Scores:
    """Train as a plain configuration says, and return the scores of the best checkpoint.

    Raises:
        CoatsegError: something that the user can mend; a folder made for the run is removed if no step was taken.
    """
    began = time.monotonic()
    plan = read(config)
    if first_process():
        check_name(plan.output, plan.name, plan.resume)
    resume = checkpoint_to_resume(plan.resume, plan.output, plan.name)
    settle(plan.trainer, plan.keep_memory)
    lightning.seed_everything(plan.seed, verbose=False)
    weights = plan.weights if resume is None else None
    if resume is not None or weights is not None:
        plan = replace(plan, task=plan.task.with_weights_from_elsewhere())
    built = build(plan)
    if resume is not None:
        check_resumable(resume, config, built.data.info.classes, len(built.data.split("train")))
    start = None if weights is None else start_from(built.task.model, weights)
    introduce(plan, built, resume, start)
    if weights is not None and (others := other_classes(weights, built.data.info)) is not None:
        say(f"{others}. What predicts them is taken over as it is")
    run, new = open_run(plan)
    try:
        trainer = trainer_of(plan, built, run)
        built.data.check_shares(trainer.world_size, trainer.accumulate_grad_batches)
        say(f"run folder: {run.folder}")
        log_options(trainer, {**plan.config, "name": run.folder.name, "resume": None})
        trainer.fit(built.task, datamodule=built.data, ckpt_path=resume, weights_only=True)
    except BaseException:
        if new and built.task.steps_taken == 0:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    scores, which, step = evaluate_best(trainer, built, run)
    if trainer.is_global_zero:
        checkpoint = f"checkpoints/{which}.ckpt"
        result = {
            **result_of(built.task, trainer, checkpoint=checkpoint, step=step, split="val", began=began),
            "steps": built.task.steps_taken,
            "batch_size": built.data.batch_size,
        }
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # which Lightning sets from elsewhere
        worst = next((callback for callback in callbacks if isinstance(callback, WorstImages)), None)
        conclude(plan, built, run, scores, result, worst)
    return scores


def introduce(plan: Plan, built: Built, resume: Path | None, start: LoadedWeights | None = None) -> None:
    """Print what will be trained on what, and from which weights."""
    backbone, model = plan.task.backbone, built.task.model
    millions = parameter_count(model) / 1e6
    unused = sum(model.get_parameter(name).numel() for name in getattr(model, "unused", ()))
    data = built.data
    classes = len(data.info.classes)
    say(
        f"{plan.task.title}, {millions:.1f} M parameters; {data.info.name}: "
        f"{classes} class{'es' * (classes != 1)}, {len(data.split('train'))} training and {len(data.split('val'))} "
        f"validation samples; {built.total_steps} steps"
    )
    for split in ("train", "val"):
        say_repairs(data, split)
    if unused:
        say(f"{unused / 1e6:.2f} M of these parameters are not trained: no output depends on them")
    if resume is not None:
        say(f"going on from {resume}")
    elif start is not None:
        for line in start.lines():
            say(line)
    elif not backbone.options.get("pretrained"):
        say(f"{backbone.name} starts from random weights; backbone.pretrained=true starts from ImageNet's")
    if first_process():
        say_first_look(data, ("train", "val"))
    if data.rare_class_temperature is not None:
        say("rare classes are drawn more often: the labels of all training samples are counted before the first step")


def open_run(plan: Plan) -> tuple[Run, bool]:
    """Return the run's folder and whether it is new; only the first process makes one."""
    output, name = plan.output, plan.name
    stem = f"{plan.data.dataset.name}-{plan.task.head.name}-{plan.task.backbone.name}"
    launched_elsewhere = FOLDER_VARIABLE not in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if launched_elsewhere and name is None:
        raise ConfigError("Processes that another program starts cannot agree on a new name.", "Add name=...")
    if not first_process():
        return Run(Path(os.environ.get(FOLDER_VARIABLE, output / (name or stem)))), False
    if name is not None and goes_on(output, name, plan.resume) and (output / name).is_dir():
        run, new = Run(output / name), False
    else:
        run, new = create_run(output, name, stem), True
    os.environ[FOLDER_VARIABLE] = str(run.folder)
    try:
        run.write_config({**plan.config, "name": run.folder.name, "resume": None})
    except OutputError:
        if new:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return run, new


def trainer_of(plan: Plan, built: Built, run: Run) -> lightning.Trainer:
    """Build the trainer with this run's callbacks, loggers and progress; compile the model if the plan says so."""
    if plan.compile:
        built.task.model.compile()
    info = built.data.info
    record = {
        "config": dict(plan.config),
        "info": info.to_plain(),
        "train_samples": len(built.data.split("train")),
        "version": coatseg.__version__,
    }
    context = {
        "checkpoints": run.checkpoints,
        "pictures": run.pictures,
        "info": info,
        "monitor": built.task.monitor,
        "record": record,
    }
    callbacks = [choice.make(**context) for choice in plan.callbacks]
    loggers = [choice.make(run=run.folder) for choice in plan.loggers]
    progress = RunProgress(built.total_steps, built.data.batch_size)
    return make_trainer(plan.trainer, [*callbacks, progress], [MetricsTable(run.metrics), *loggers])


def log_options(trainer: lightning.Trainer, config: Mapping[str, Any]) -> None:
    """Log the options of the run to every logger, each under the key by which it is typed."""
    for logger in trainer.loggers:
        logger.log_hyperparams(flattened(config))


def flattened(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested sections by their dotted keys."""
    leaves: dict[str, Any] = {}
    for name, value in section.items():
        if isinstance(value, Mapping) and value:
            leaves |= flattened(value, f"{prefix}{name}.")
        else:
            leaves[f"{prefix}{name}"] = value
    return leaves


def evaluate_best(trainer: lightning.Trainer, built: Built, run: Run) -> tuple[Scores, str, int]:
    """Evaluate the best checkpoint, or the last one if there is no best.

    Returns its scores, its name, "best" or "last", and the optimizer step at which it was written.
    """
    which = "best" if (run.checkpoints / "best.ckpt").exists() else "last"
    checkpoint = read_checkpoint(run.checkpoints / f"{which}.ckpt")
    built.task.load_state_dict(checkpoint["state_dict"])
    step = int(checkpoint["global_step"])
    say(f"evaluating the {which} checkpoint (step {step}) on val")
    return evaluate(trainer, built.task, built.data, "val"), which, step


def conclude(
    plan: Plan,
    built: Built,
    run: Run,
    scores: Scores,
    result: Mapping[str, Any],
    worst: WorstImages | None,
) -> None:
    """Print the scores, draw the curves, and write the report; `result` is what scores.json holds beside the scores."""
    title = f"{plan.task.title}, {built.data.info.name} val"
    say(terminal_table(scores, title))
    say(scores.headline())
    facts = {
        "command": f"`{typed_command()}`",
        "steps": f"{result['steps']} of {result['batch_size']} images",
        "parameters": f"{result['parameters']:,}",
        "inference": result["inference"],
        "scored": f"step {result['step']}",
        "precision": result["precision"],
        "time": told_time(result["seconds"]),
    }
    curves, sheet = run.pictures / "curves.png", run.pictures / f"step_{result['step']:06d}.png"
    save_curves(run.metrics, built.task.monitor, curves)
    write_scores(run.folder, scores, result)
    pictures = [("curves", curves), ("image, truth, prediction", sheet)]
    report = write_report(run.folder, scores, title, facts, pictures, worst)
    say(f"report: {report}")


def typed_command() -> str:
    """Return the command line as it was typed, without the ++ that Hydra needs before some keys."""
    return shlex.join(["python", Path(sys.argv[0]).name, *(argument.removeprefix("++") for argument in sys.argv[1:])])


def told_time(seconds: float) -> str:
    """Return in words how long the run took, and on what device."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"a CPU, {torch.get_num_threads()} threads"
    return f"{timedelta(seconds=round(seconds))} on {device}"
