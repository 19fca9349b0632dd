"""The folder of a run, and the checkpoint to resume it from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from coatseg.errors import CheckpointError, ConfigError, RunExistsError
from coatseg.system.atomic import not_written, whole_file
from coatseg.training.callbacks.checkpoints import newest

AUTO = "auto"


@dataclass(frozen=True)
class Run:
    """The folder of a run, and what lies where in it."""

    folder: Path

    @property
    def config(self) -> Path:
        """The file of the composed configuration."""
        return self.folder / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """The folder of last.ckpt, previous.ckpt and best.ckpt."""
        return self.folder / "checkpoints"

    @property
    def pictures(self) -> Path:
        """The folder of the validations' contact sheets and of the plots of scores and curves."""
        return self.folder / "pictures"

    @property
    def metrics(self) -> Path:
        """The table of every logged value."""
        return self.folder / "metrics.csv"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the composed configuration."""
        with whole_file(self.config) as file:
            file.write(yaml.safe_dump(dict(config), sort_keys=False).encode())


def check_name(output: Path, name: str | None, resume: str | None) -> None:
    """Raise if a run's name cannot be a folder's or, before anything is built, if it is taken.

    Raises:
        ConfigError: the name leads elsewhere.
        RunExistsError: there is a run of that name, and it is not the one to resume.
    """
    if name is not None and (name in ("", ".", "..") or Path(name).name != name):
        raise ConfigError(f"name={name} is no name of a folder.", "The folder for all runs is output=...")
    if name is not None and (output / name).exists() and not goes_on(output, name, resume):
        raise RunExistsError(
            f"The run {output / name} exists already.",
            "Add resume=auto to go on with it, choose another name=..., or leave name out; nothing was changed.",
        )


def goes_on(output: Path, name: str | None, resume: str | None) -> bool:
    """Return whether the run of this name is the one that is resumed."""
    if name is None or resume is None:
        return False
    checkpoints = output / name / "checkpoints"
    return resume == AUTO or Path(resume).resolve().parent == checkpoints.resolve()


def create_run(output: Path, name: str | None, stem: str) -> Run:
    """Create the folder OUTPUT/NAME, or without a name OUTPUT/STEM-1, -2 and so on; never one that exists."""
    names = [name] if name is not None else (f"{stem}-{number}" for number in count(1))
    for candidate in names:
        folder = output / candidate
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise not_written(folder, error) from error
        return Run(folder)
    raise RunExistsError(
        f"The run {output / str(name)} exists already.",
        "Choose another name=..., or leave name out.",
    )


def checkpoint_to_resume(resume: str | None, output: Path, name: str | None) -> Path | None:
    """Return the checkpoint that `resume` (None, "auto" or a path) stands for; None to start anew."""
    if resume is None:
        return None
    if resume != AUTO:
        return Path(resume)
    if name is None:
        runs = sorted(output.glob("*/checkpoints"), key=lambda folder: folder.stat().st_mtime)
        latest = f" The newest run is name={runs[-1].parent.name}." if runs else ""
        raise ConfigError("resume=auto needs the name of the run.", f"Add name=...{latest}")
    folder = output / name / "checkpoints"
    found = newest(folder)
    if found is None and any(folder.glob("*.ckpt")):
        raise CheckpointError(f"No checkpoint in {folder} can be read.", "Start a new run under another name=...")
    return found
