"""What is told and kept of an exported file: how far it agrees with its model, and what it leaves to its reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from coatseg.config.restore import ModelRecord
from coatseg.errors import ExportError
from coatseg.results.export.agreement import Agreement, tolerances, unit
from coatseg.results.export.formats import FORMATS, files_of
from coatseg.results.export.graph import Graph
from coatseg.tasks.base import Task


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it compares with the model at each size."""

    path: Path
    agreements: tuple[Agreement, ...]
    left_out: tuple[str, ...]

    @property
    def difference(self) -> float:
        """The largest difference at any size."""
        return max(row.difference for row in self.agreements)

    @property
    def alike(self) -> float:
        """The least share of pixels or objects that agree."""
        return min(row.alike for row in self.agreements)

    @property
    def compared(self) -> int:
        """How many pixels or objects were compared."""
        return sum(row.compared for row in self.agreements)


def report_path(output: Path) -> Path:
    """Return the path of the report on a file, which lies beside it."""
    return output.with_name(f"{output.name}.json")


def report(task: Task, exported: Exported, name: str) -> dict[str, object]:
    """Return what is kept of a comparison, as JSON can hold it."""
    return {
        "file": exported.path.name,
        "format": name,
        "versions": {library: version(library) for library in ("torch", *FORMATS[name].libraries)},
        "bytes": sum(path.stat().st_size for path in files_of(name, exported.path)),
        "largest_difference": exported.difference,
        "alike": exported.alike,
        "of": unit(task),
        "compared": exported.compared,
        "tolerances": tolerances(task),
        "sizes": [asdict(row) for row in exported.agreements],
        "left_out": list(exported.left_out),
    }


def left_out(task: Task, name: str, graph: Graph, model: ModelRecord) -> Iterator[str]:
    """Yield a line for each thing that a file in the format `name` leaves to its reader."""
    if FORMATS[name].refuses:
        yield f"it does not take {FORMATS[name].refuses}"
    if not graph.any_batch:
        yield "it takes one image at a time"
    if graph.left:
        yield graph.left
    if not task.inference.plain:
        yield f"it sees whole images, once; {task.inference.words} is the reader's part"
    if resize := model.images["evaluation_resize"]:
        yield f"images are resized to {list(resize)} before (data.evaluation_resize), which is the reader's part"


def disagreement(task: Task, exported: Exported, name: str) -> ExportError:
    """Return the error of a file that is too far from the model, with the sizes at which it is."""
    bad = [row for row in exported.agreements if not row.good]
    rows = "; ".join(
        f"at {row.size[0]}x{row.size[1]} {row.alike:.4%} of {row.compared} {unit(task)} agree, "
        f"and numbers differ by up to {row.difference:.1e}"
        for row in bad
    )
    known = ", ".join(f"{name} {value:g}" for name, value in tolerances(task).items())
    return ExportError(
        f"The {name} file does not compute what the model does: {rows}. It was not kept.",
        f"Asked for: {known}. Another format may do; torch and the format's library may not go together.",
    )
