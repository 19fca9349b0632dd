"""The folder of a run, and what to resume it from."""

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
    """Where everything of a run is kept."""

    folder: Path

    @property
    def config(self) -> Path:
        """The composed configuration."""
        return self.folder / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """last.ckpt, previous.ckpt, best.ckpt."""
        return self.folder / "checkpoints"

    @property
    def pictures(self) -> Path:
        """Contact sheets of the validations, the confusion matrix."""
        return self.folder / "pictures"

    @property
    def metrics(self) -> Path:
        """Every logged value."""
        return self.folder / "metrics.csv"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the composed configuration."""
        with whole_file(self.config) as file:
            file.write(yaml.safe_dump(dict(config), sort_keys=False).encode())


def check_name(output: Path, name: str | None, resume: str | None) -> None:
    """Refuse a name that is no name of a folder, and, before anything is built, one that is taken.

    Raises:
        ConfigError: the name leads elsewhere.
        RunExistsError: there is such a run, and it is not the one to go on with.
    """
    if name is not None and (name in ("", ".", "..") or Path(name).name != name):
        raise ConfigError(f"name={name} is no name of a folder.", "The folder for all runs is output=...")
    if name is not None and (output / name).exists() and not goes_on(output, name, resume):
        raise RunExistsError(
            f"The run {output / name} exists already.",
            "Add resume=auto to go on with it, choose another name=..., or leave name out; nothing was changed.",
        )


def goes_on(output: Path, name: str | None, resume: str | None) -> bool:
    """Say whether the run of this name is the one that is resumed."""
    if name is None or resume is None:
        return False
    checkpoints = output / name / "checkpoints"
    return resume == AUTO or Path(resume).resolve().parent == checkpoints.resolve()


def create_run(output: Path, name: str | None, stem: str) -> Run:
    """Make the folder OUTPUT/NAME, or OUTPUT/STEM-1, -2, ... without a name; never one that exists."""
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
    """Find the checkpoint that `resume` (None, "auto" or a path) stands for; None to start anew."""
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
