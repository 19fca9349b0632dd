"""What the commands print: lines, errors with their mend and skipped images. Advice of libraries is silenced."""

from __future__ import annotations

import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from rich.console import Console, RenderableType

from coatseg.errors import CoatsegError, OutputError

if TYPE_CHECKING:  # importing them takes a second, too long for --help
    from coatseg.data.images.sources import Skipped
    from coatseg.data.inspection import Finding
    from coatseg.data.loading.module import DataModule

EXIT_CODE = 2
STOPPED = 130
"""The exit code after Ctrl-C, as shells have it: 128 and the number of the signal."""

MENDS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some space, then go on with resume=auto."),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "Change who may use it, or name another place."),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR), "Put a folder where a folder is meant, and a file where a file is."),
    errno.EROFS: "Name a place that can be written.",
    errno.EMFILE: "Allow more open files with ulimit -n, or set data.workers lower.",
}
"""What to do about the operating system's errors, by their number."""

_console = Console(highlight=False, markup=False, soft_wrap=True)


def say(message: RenderableType) -> None:
    """Print a line or a table, from the first process only; file names that are not UTF-8 get backslashes."""
    if first_process():
        fit = message.encode(errors="backslashreplace").decode() if isinstance(message, str) else message
        _console.print(fit)


def say_repairs(data: DataModule, split: str) -> None:
    """Print the repairs that the reader of a split made to its annotations, a line each."""
    for line in data.repairs(split):
        say(f"{data.info.name} {split}: {line}")


def say_first_look(data: DataModule, splits: Sequence[str]) -> None:
    """Check samples of some splits, and print how many, and what is suspicious in them.

    Raises:
        CoatsegError: something in them is broken, or nothing can be learnt from them.
    """
    from coatseg.data.inspection.first_look import look_first

    look = look_first(data, splits)
    say(look.words)
    say_findings(look.findings)


def say_findings(findings: Sequence[Finding]) -> None:
    """Print what is broken or suspicious in a dataset, each with what to do about it and the first places."""
    for finding in findings:
        say(f"{'broken' if finding.broken else 'suspicious'}: {finding.what}. {finding.mend}")
        for place in finding.where[:PLACES]:
            say(f"  {place}")
        if len(finding.where) > PLACES:
            say(f"  and {len(finding.where) - PLACES} more")


def first_process() -> bool:
    """Return whether this process is the first of a distributed run, or the only one, by the launcher's variables."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"))


@contextmanager
def friendly_errors(after_stop: str = "") -> Iterator[None]:
    """Print errors that a user can mend in one or two lines, without a traceback, and exit with code 2.

    After Ctrl-C print a line with `after_stop`, which says how to go on, and exit with `STOPPED`.
    """
    try:
        yield
    except CoatsegError as error:
        leave(error)
    except OSError as error:
        if error.errno not in MENDS:
            raise
        where = f": {error.filename}" if error.filename else ""
        leave(OutputError(f"{error.strerror}{where}.", MENDS[error.errno]))
    except (KeyboardInterrupt, SystemExit) as error:
        if not _by_user(error):
            raise
        if first_process():
            print(f"stopped. {after_stop}".rstrip(), file=sys.stderr)
        sys.exit(STOPPED)


def _by_user(error: KeyboardInterrupt | SystemExit) -> bool:
    """Return whether Ctrl-C was pressed, which Lightning turns into an exit with code 1."""
    if isinstance(error, SystemExit):
        return error.code == 1 and isinstance(error.__context__, KeyboardInterrupt)
    return True


def run_verb(usage: str, work: Callable[[list[str]], int | None], *, bare: bool = False, after_stop: str = "") -> None:
    """Call a command's `work` with the typed arguments, and exit with the code that it returns, if it returns one.

    --help prints the usage, and so does a command without arguments unless `bare` says that it needs none. `after_stop`
    says how to go on after Ctrl-C.
    """
    arguments = sys.argv[1:]
    if (not arguments and not bare) or any(argument in ("--help", "-h") for argument in arguments):
        print(usage)
        return
    with friendly_errors(after_stop):
        if code := work(arguments):
            sys.exit(code)


def leave(error: CoatsegError, code: int = EXIT_CODE) -> NoReturn:
    """Print an error with its mend, and exit."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(code)


def quiet_libraries() -> None:
    """Silence the libraries' advice on settings that coatseg chooses itself.

    Call it after the libraries are imported, as Lightning sets up its loggers on import.
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


SKIPPED = 1
"""The exit code if images were skipped."""
PLACES = 3
"""How many places of a finding are named."""
SHOWN = 20
"""How many skipped images are named."""


def say_skipped(skipped: Sequence[Skipped], address: str) -> None:
    """Print the skipped images, or the first of them and the file in the output folder that lists them all."""
    from coatseg.data.images.sources import SKIPPED_FILE

    for image in skipped[:SHOWN]:
        say(f"skipped: {image.reason.splitlines()[0]}")
    if len(skipped) > SHOWN:
        say(f"skipped: and {len(skipped) - SHOWN} more, in {address}/{SKIPPED_FILE}")
