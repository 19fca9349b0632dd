"""What the commands print: errors in a line or two, and what Lightning says only where it helps."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console, RenderableType

from coatseg.errors import CoatsegError, OutputError

if TYPE_CHECKING:  # importing it takes a second, which --help has not
    from coatseg.data.module import DataModule

EXIT_CODE = 2

_console = Console(highlight=False, soft_wrap=True)


def say(message: RenderableType) -> None:
    """Print a line or a table, from the first process only."""
    if first_process():
        _console.print(message)


def say_repairs(data: DataModule, split: str) -> None:
    """Print what the reader of a split mended in its annotations, a line each."""
    for line in data.repairs(split):
        say(f"{data.info.name} {split}: {line}")


def first_process() -> bool:
    """Say whether this process is the first of a distributed run, or the only one, by the launcher's variables."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"))


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Print what a user can mend in one or two lines and leave with exit code 2, without a traceback."""
    try:
        yield
    except CoatsegError as error:
        leave(error)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        leave(OutputError(f"The disk is full: {error}.", "Free some space, then go on with resume=auto."))


def leave(error: CoatsegError, code: int = EXIT_CODE) -> NoReturn:
    """Print what a user can mend, and leave."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(code)


def quiet_libraries() -> None:
    """Silence the libraries' advice on settings that coatseg chooses itself.

    To be called after they are imported, as Lightning sets its loggers up then.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # a new experiment is no warning
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*Checkpoint directory.*exists and is not empty.*",
        ".*resuming from a checkpoint that ended before the epoch ended.*",
        ".*`training_step` returned `None`.*",
        ".*LeafSpec.*",
        ".*GPU available but not used.*",
        ".*sync_dist=True.*",
        ".*module.s. in eval mode at the start of training.*",
        ".*callbacks used to create the checkpoint need to be provided.*",
        ".*checkpoint was not created with WeightAveraging.*",
    ):
        warnings.filterwarnings("ignore", message)
