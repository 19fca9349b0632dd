"""One run: check, build, fit, evaluate the best checkpoint, write the report."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import torch

import coatseg
from coatseg.build import Built, build, build_callbacks, build_loggers, without_pretrained
from coatseg.check import check
from coatseg.commands.console import first_process, say
from coatseg.errors import CoatsegError
from coatseg.structures import Scores, parameter_count
from coatseg.tasks.evaluation import evaluate
from coatseg.training.checkpoints import read_checkpoint
from coatseg.training.progress import RunProgress
from coatseg.training.report import terminal_table, write_report
from coatseg.training.run import Run, check_resumable, checkpoint_to_resume, create_run
from coatseg.training.table import MetricsTable
from coatseg.training.trainer import make_trainer

FOLDER_VARIABLE = "COATSEG_RUN_FOLDER"
"""Tells the processes that the first one starts where the run is kept."""


def fit(config: Mapping[str, Any]) -> Scores:
    """Train as a plain configuration says, and give the scores of the best checkpoint.

    Raises:
        CoatsegError: something that the user can mend; a folder made for the run is taken away if nothing was trained.
    """
    began = time.monotonic()
    check(config)
    output, name = Path(config["output"]), config["name"]
    resume = checkpoint_to_resume(config["resume"], output, name)
    lightning.seed_everything(config["seed"], verbose=False)
    built = build(config if resume is None else without_pretrained(config))
    if resume is not None:
        check_resumable(resume, config, built.data.info.classes)
    introduce(config, built, resume)
    run, new = open_run(config, output, name)
    try:
        trainer = trainer_of(config, built, run)
        say(f"run folder: {run.folder}")
        trainer.fit(built.task, datamodule=built.data, ckpt_path=resume, weights_only=True)
        scores = evaluate_best(trainer, built, run)
    except CoatsegError:
        if new and not any(run.checkpoints.glob("*.ckpt")):
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    if trainer.is_global_zero:
        conclude(config, built, run, scores, {"precision": trainer.precision, "time": elapsed(began)})
    return scores


def introduce(config: Mapping[str, Any], built: Built, resume: Path | None) -> None:
    """Say what will be trained on what, and from which weights."""
    backbone, head = config["backbone"], config["head"]
    millions = parameter_count(built.task.model) / 1e6
    data = built.data
    say(
        f"{head['name']} on {backbone['name']}, {millions:.1f} M parameters; {data.info.name}: "
        f"{len(data.info.classes)} classes, {len(data.split('train'))} training and {len(data.split('val'))} "
        f"validation samples; {built.total_steps} steps"
    )
    if resume is not None:
        say(f"going on from {resume}")
    elif not backbone.get("pretrained"):
        say(f"{backbone['name']} starts from random weights; backbone.pretrained=true starts from ImageNet's")
    say(data.verify(("train", "val")))


def open_run(config: Mapping[str, Any], output: Path, name: str | None) -> tuple[Run, bool]:
    """Give the run's folder and whether it is new. Only the first process makes one."""
    stem = f"{config['data']['name']}-{config['head']['name']}-{config['backbone']['name']}"
    if not first_process():
        return Run(Path(os.environ.get(FOLDER_VARIABLE, output / (name or stem)))), False
    if config["resume"] is not None and name is not None and (output / name).is_dir():
        run, new = Run(output / name), False
    else:
        run, new = create_run(output, name, stem), True
    os.environ[FOLDER_VARIABLE] = str(run.folder)
    run.write_config({**config, "name": run.folder.name})
    return run, new


def trainer_of(config: Mapping[str, Any], built: Built, run: Run) -> lightning.Trainer:
    """Make the trainer with this run's logs, pictures, checkpoints and progress."""
    if config["compile"]:
        built.task.model.compile()
    info = built.data.info
    record = {"config": dict(config), "info": info.to_plain(), "version": coatseg.__version__}
    context = {
        "checkpoints": run.checkpoints,
        "pictures": run.pictures,
        "info": info,
        "monitor": built.task.monitor,
        "record": record,
    }
    callbacks = [*build_callbacks(config, **context), RunProgress(built.total_steps, built.data.batch_size)]
    loggers = [MetricsTable(run.metrics), *build_loggers(config, run.folder)]
    return make_trainer(config["trainer"], callbacks, loggers)


def evaluate_best(trainer: lightning.Trainer, built: Built, run: Run) -> Scores:
    """Evaluate the best checkpoint, or the last one where no validation has called one best."""
    best, last = run.checkpoints / "best.ckpt", run.checkpoints / "last.ckpt"
    checkpoint = read_checkpoint(best if best.exists() else last)
    built.task.load_state_dict(checkpoint["state_dict"])
    say(f"evaluating the best checkpoint (step {checkpoint['global_step']}) on val")
    return evaluate(trainer, built.task, built.data, "val")


def conclude(config: Mapping[str, Any], built: Built, run: Run, scores: Scores, facts: Mapping[str, str]) -> None:
    """Print the scores and write the report."""
    title = f"{config['head']['name']} on {config['backbone']['name']}, {built.data.info.name} val"
    say(terminal_table(scores, title))
    say(scores.headline())
    facts = {
        "command": f"`{typed_command()}`",
        "steps": f"{built.total_steps} of {built.data.batch_size} images",
        "parameters": f"{parameter_count(built.task.model):,}",
        **facts,
    }
    sheets = sorted(run.pictures.glob("step_*.png"))
    report = write_report(run.folder, scores, title, facts, sheets[-1] if sheets else None)
    say(f"report: {report}")


def typed_command() -> str:
    """Give the command line as it was typed, before its keys were opened for Hydra."""
    return shlex.join(["python", Path(sys.argv[0]).name, *(argument.removeprefix("++") for argument in sys.argv[1:])])


def elapsed(began: float) -> str:
    """Say how long it took, and on what."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"a CPU, {torch.get_num_threads()} threads"
    return f"{timedelta(seconds=round(time.monotonic() - began))} on {device}"
