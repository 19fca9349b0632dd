"""A task to a file of another format, which is there only if it computes what the task does."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import MinLen
from torch import Tensor, nn

from coatseg.data.images.images import normalise
from coatseg.errors import CoatsegError, ConfigError, ExportError
from coatseg.registry.options import Options, PositiveInt, legal
from coatseg.results.export.agreement import Agreement, agreement, comparison_of
from coatseg.results.export.facts import Facts, facts_of
from coatseg.results.export.formats import FORMATS, Format, check_holds, files_of, format_of
from coatseg.results.export.graph import Graph, graph_of
from coatseg.scenes import Scenes
from coatseg.scenes.dataset import LEAST_SIZE
from coatseg.structures import DatasetInfo, Size
from coatseg.system.atomic import not_written, whole_file
from coatseg.tasks.base import Task
from coatseg.tasks.dense import DenseTask

Sizes = Annotated[
    tuple[tuple[PositiveInt, PositiveInt], ...],
    MinLen(1),
    legal("Give [height,width] in pixels, such as [[200,333],[256,256],[97,61]]"),
]
SIZES: tuple[Size, ...] = ((200, 333), (256, 256), (97, 61))
"""The (height, width) of the images that a file is compared at; at the first of them the model is traced."""
BATCH = 2
"""How many images go through at once, of the first size; of the others one."""


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


def export(
    task: Task, config: Options, name: str, output: Path, *, preprocess: bool = False, sizes: Sequence[Size] = SIZES
) -> Exported:
    """Write the task of a configuration in the format `name` to `output`, run the file and compare it.

    The task's model is float32 and at rest from then on. With `preprocess` the file takes pixels from 0 to 255 and
    normalises them itself. It is compared on generated street scenes of the `sizes`, and beside it a file OUTPUT.json
    tells how that went.

    Raises:
        ConfigError: the format is unknown, cannot hold the model, or needs a library; the file is there already.
        ExportError: the file does not compute what the task does: nothing is left of it.
        OutputError: it cannot be written.
    """
    form = format_of(name)
    check_output(name, output)
    graph = graph_of(task.model.eval().float(), task.info, preprocess=preprocess)
    check_holds(name, graph)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".export.") as folder:
            written = Path(folder) / output.name
            facts = facts_of(task, config, graph)
            rows = compared(task, name, graph, facts, written, sizes)
            if not any(row.compared for row in rows):
                with finding_all(task.model):
                    unsure = graph_of(task.model, task.info, preprocess=preprocess)
                    rows = compared(task, name, unsure, facts, Path(folder) / f"unsure{output.suffix}", sizes)
            exported = Exported(output, tuple(rows), tuple(left_out(task, form, graph, config)))
            if not (exported.compared and all(row.good for row in rows)):
                raise disagreement(task, exported, name)
            for source, target in zip(files_of(name, written), files_of(name, output), strict=True):
                move(source, target)
    except OSError as error:
        raise not_written(output, error) from error
    with whole_file(report_path(output)) as file:
        file.write(json.dumps(report(task, exported, name), indent=1).encode())
    return exported


def compared(task: Task, name: str, graph: Graph, facts: Facts, path: Path, sizes: Sequence[Size]) -> list[Agreement]:
    """Write a graph, run the file, and compare it with the task at each size."""
    form = FORMATS[name]
    first, *others = compared_images(graph, task.info, sizes)
    with failing(f"{name} cannot hold this model"):
        form.write(graph, first, path, facts)
    with failing(f"The {name} file does not run"):
        run = form.run(path)
        pairs = [(eager(task, images, graph), run(images)) for images in (first, *others)]
        return [agreement(task, size, *pair) for size, pair in zip(sizes, pairs, strict=True)]


@contextmanager
def finding_all(model: nn.Module) -> Iterator[None]:
    """Have a detector that is sure of nothing in the scenes give its best guesses, as there is nothing to compare."""
    names = ("score_thresh", "score_threshold")
    places = [(part, name) for part in model.modules() for name in names if name in vars(part)]
    before = [getattr(part, name) for part, name in places]
    try:
        for part, name in places:
            setattr(part, name, 0.0)
        yield
    finally:
        for (part, name), value in zip(places, before, strict=True):
            setattr(part, name, value)


def move(source: Path, target: Path) -> None:
    """Put a file into its place when the disk has it."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
    source.replace(target)


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Turn what a library raises into an ExportError; our own errors and the disk's stay what they are."""
    try:
        yield
    except (CoatsegError, OSError):
        raise
    except Exception as error:  # exporters and runtimes have no common kind
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ExportError(
            f"{what}: {lines[0]}", "Another format may; a model that takes one size only needs sizes=[[HEIGHT,WIDTH]]."
        ) from error


def check_output(name: str, output: Path) -> None:
    """Refuse a name of another ending, and what is there already.

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


def report_path(output: Path) -> Path:
    """Give the file that tells how a file compared."""
    return output.with_name(f"{output.name}.json")


def compared_images(graph: Graph, info: DatasetInfo, sizes: Sequence[Size]) -> Iterator[Tensor]:
    """Give the images to compare a graph at: of the first size a batch, if it takes one."""
    for place, size in enumerate(sizes):
        yield images_of(info, size, BATCH if graph.any_batch and place == 0 else 1, graph.preprocess)


def images_of(info: DatasetInfo, size: Size, count: int, preprocess: bool) -> Tensor:
    """Draw street scenes (count, C, height, width) as a graph takes them; channels beyond three repeat those."""
    height, width = size
    scenes = Scenes("val", size=(max(height, LEAST_SIZE), max(width, LEAST_SIZE)))
    channels = np.arange(info.channels) % 3
    images = [np.ascontiguousarray(scenes[number].image[:height, :width, channels]) for number in range(count)]
    if preprocess:
        return torch.stack([torch.from_numpy(image).permute(2, 0, 1).float() for image in images])
    return torch.stack([normalise(image, info) for image in images])


@torch.no_grad()
def eager(task: Task, images: Tensor, graph: Graph) -> list[Tensor]:
    """Give the outputs of a task's own model for what a graph takes."""
    found = task.model(graph.normalised(images))
    if isinstance(task, DenseTask):
        return [found.logits]
    return [getattr(found[0], name) for name in graph.outputs]


def left_out(task: Task, form: Format, graph: Graph, config: Options) -> Iterator[str]:
    """Say what a file leaves to its reader, a line each."""
    if form.refuses:
        yield f"it does not take {form.refuses}"
    if not graph.any_batch:
        yield "it takes one image at a time"
    if "masks" in graph.outputs:
        yield "masks are 28x28 within their boxes; pasting them into the image is the reader's part"
    if not task.inference.plain:
        yield f"it sees whole images, once; {task.inference.words} is the reader's part"
    if resize := config["data"].get("evaluation_resize"):
        yield f"images are resized to {list(resize)} before (data.evaluation_resize), which is the reader's part"


def report(task: Task, exported: Exported, name: str) -> dict[str, object]:
    """Give what is kept of a comparison."""
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


def unit(task: Task) -> str:
    """Name what the share that agrees is one of."""
    return comparison_of(task).unit


def tolerances(task: Task) -> dict[str, float]:
    """Give what may differ."""
    return dict(comparison_of(task).tolerances)


def disagreement(task: Task, exported: Exported, name: str) -> ExportError:
    """Say how far a file is from the model."""
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
