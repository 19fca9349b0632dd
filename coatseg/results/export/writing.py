"""A task to a file of another format, which is there only if it computes what the task does."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from coatseg.config.restore import ModelRecord
from coatseg.errors import ConfigError
from coatseg.results.export.beside_model import SIZES, write_compared
from coatseg.results.export.facts import export_facts
from coatseg.results.export.formats import FORMATS, check_holds, files_of, format_of
from coatseg.results.export.graph import graph_of
from coatseg.results.export.report import Exported, disagreement, left_out, report, report_path
from coatseg.structures import Size
from coatseg.system.atomic import not_written, whole_file
from coatseg.tasks.base import Task


def export(
    task: Task, model: ModelRecord, name: str, output: Path, *, preprocess: bool = False, sizes: Sequence[Size] = SIZES
) -> Exported:
    """Write a task, whose model has this record, in the format `name` to `output`, run the file and compare it.

    The task's model is float32 and at rest from then on. With `preprocess` the file takes pixels from 0 to 255 and
    normalises them itself. It is compared on generated street scenes of the `sizes`, and beside it a file OUTPUT.json
    tells how that went.

    Raises:
        ConfigError: the format is unknown, cannot hold the model, or needs a library; the file is there already.
        ExportError: the file does not compute what the task does: nothing is left of it.
        OutputError: it cannot be written.
    """
    format_of(name)
    check_output(name, output)
    check_exported(task, model)
    graph = graph_of(task.model.eval().float(), task.info, preprocess=preprocess)
    check_holds(name, graph)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".export.") as folder:
            written = Path(folder) / output.name
            rows = write_compared(task, name, graph, export_facts(task, model, graph), written, sizes)
            exported = Exported(output, tuple(rows), tuple(left_out(task, name, graph, model)))
            if not (exported.compared and all(row.good for row in rows)):
                raise disagreement(task, exported, name)
            for source, target in zip(files_of(name, written), files_of(name, output), strict=True):
                _move(source, target)
    except OSError as error:
        raise not_written(output, error) from error
    with whole_file(report_path(output)) as file:
        file.write(json.dumps(report(task, exported, name), indent=1).encode())
    return exported


def check_exported(task: Task, model: ModelRecord) -> None:
    """Raise ConfigError if the model's head says why it cannot be exported."""
    reason = getattr(getattr(task.model, "head", None), "not_exported", "")
    if reason:
        raise ConfigError(
            f"{model.head} cannot be exported: {reason}.",
            "Predict with the checkpoint itself (coatseg predict checkpoint=...), or train another head.",
        )


def check_output(name: str, output: Path) -> None:
    """Raise if the file's name has another ending, or a file is there already.

    Raises:
        ConfigError: it is either.
    """
    if output.suffix != FORMATS[name].suffix:
        raise ConfigError(f"output={output} does not end in {FORMATS[name].suffix}.", f"Files of format={name} do.")
    files = [*files_of(name, output), report_path(output)]
    if there := [str(path) for path in files if path.exists()]:
        verb = "are" if len(there) > 1 else "is"
        raise ConfigError(
            f"{' and '.join(there)} {verb} there already.", "Choose another output=..., or delete what is there."
        )


def _move(source: Path, target: Path) -> None:
    """Put a file into its place when the disk has it."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)
