"""The jobs of a sweep (`-m`): each runs as if alone, its errors name it, and a table compares them at the end."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hydra.conf import HydraConf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from rich.table import Table

from coatseg.commands.terminal.console import say
from coatseg.errors import CoatsegError, ConfigError


@dataclass(frozen=True)
class Outcome:
    """The result of a job: the folder of its run, and its score by the metric called `monitor`."""

    folder: str
    monitor: str
    score: float


class Sweep:
    """Runs the jobs of a sweep and compares them; `typed` are the arguments of its command line."""

    def __init__(self, typed: Sequence[str]) -> None:
        self.typed = typed
        self.begun = 0
        self.ended: list[tuple[Outcome, str]] = []

    def run(self, job: HydraConf, name: str | None, train: Callable[[], Outcome]) -> float | None:
        """Run a job and return its score; None if it has none, as after a failure that the search tolerates.

        Raises:
            CoatsegError: the job failed, and the sweep ends with it.
        """
        for library in ("hydra_plugins.hydra_optuna_sweeper", "hydra._internal.core_plugins.basic_launcher"):
            logging.getLogger(library).setLevel(logging.CRITICAL)  # they repeat what is printed here
        self.begun += 1
        options = chosen(job, self.typed)
        say(f"job {job.job.num} of the sweep: {options}")
        try:
            with alone(job, name):
                outcome = train()
        except CoatsegError as error:
            error.what = f"Job {job.job.num} of the sweep ({options}) failed. {error.what}"
            if not goes_on(job):
                raise
            print(error, file=sys.stderr)
            return None
        if math.isnan(outcome.score):
            return None
        self.ended.append((outcome, options))
        return outcome.score

    def conclude(self) -> None:
        """Print a table that compares the jobs.

        Raises:
            ConfigError: a sweep was asked for, but it has no job.
        """
        if not self.begun and {"-m", "--multirun"} & set(self.typed):
            raise ConfigError("The sweep has no job.", "A pattern such as glob(NAME*) matches no file of its group.")
        if self.ended:
            say(comparison(self.ended))


def is_sweep(job: HydraConf) -> bool:
    """Return whether a job belongs to a sweep."""
    return bool(job.mode == RunMode.MULTIRUN)


def goes_on(job: HydraConf) -> bool:
    """Return whether the sweep goes on after a job has failed, as a search with a max_failure_rate does."""
    return float(job.sweeper.get("max_failure_rate", 0.0)) > 0


def chosen(job: HydraConf, typed: Sequence[str]) -> str:
    """Return the options of this job alone, without those that the user gave to every job."""
    parser = OverridesParser.create()
    given = parser.parse_overrides([argument for argument in typed if "=" in argument and not argument.startswith("-")])
    fixed = {override.get_key_element() for override in given if not override.is_sweep_override()}
    overrides = parser.parse_overrides(list(job.overrides.task))
    own = [str(override.input_line) for override in overrides if override.get_key_element() not in fixed]
    return " ".join(option.removeprefix("++") for option in own)


@contextmanager
def alone(job: HydraConf, name: str | None) -> Iterator[None]:
    """Let a job run as if it had been typed alone, under the name of its run.

    The processes of a distributed job are started with the arguments in sys.argv, and find each other by environment
    variables, which must not reach the next job.
    """
    environment, arguments = dict(os.environ), sys.argv[1:]
    own = [argument for argument in job.overrides.task if not argument.startswith(("hparams_search=", "name="))]
    sys.argv[1:] = own if name is None else [*own, f"name={name}"]
    try:
        yield
    finally:
        sys.argv[1:] = arguments
        os.environ.clear()
        os.environ.update(environment)
        distributed = sys.modules.get("torch.distributed")
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


def comparison(ended: Sequence[tuple[Outcome, str]]) -> Table:
    """Return a table of the jobs that have a score, the best first."""
    table = Table(title=f"{len(ended)} runs of the sweep, the best first", title_justify="left")
    table.add_column("run", overflow="fold")
    table.add_column(ended[0][0].monitor, justify="right")
    table.add_column("options", overflow="fold")
    for outcome, options in sorted(ended, key=lambda row: -row[0].score):
        table.add_row(outcome.folder, f"{outcome.score:.4f}", options)
    return table
