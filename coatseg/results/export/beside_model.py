"""A file run beside the model that it was written of, on the same street scenes at several sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from annotated_types import MinLen
from torch import Tensor, nn

from coatseg.data.images.normalization import normalise
from coatseg.errors import CoatsegError, ExportError
from coatseg.registry.options import PositiveInt, legal
from coatseg.results.export.agreement import Agreement, agreement
from coatseg.results.export.facts import Facts
from coatseg.results.export.formats import FORMATS
from coatseg.results.export.graph import Graph, graph_of
from coatseg.scenes import Scenes
from coatseg.scenes.dataset import LEAST_SIZE
from coatseg.structures import DatasetInfo, Size
from coatseg.tasks.base import Task

Sizes = Annotated[
    tuple[tuple[PositiveInt, PositiveInt], ...],
    MinLen(1),
    legal("Give [height,width] in pixels, such as [[200,333],[256,256],[97,61]]"),
]
SIZES: tuple[Size, ...] = ((200, 333), (256, 256), (97, 61))
"""The (height, width) of the images that a file is compared at; at the first of them the model is traced."""
BATCH = 2
"""How many images go through at once, of the first size; of the others one."""


def write_compared(
    task: Task, name: str, graph: Graph, facts: Facts, path: Path, sizes: Sequence[Size]
) -> list[Agreement]:
    """Write a task's graph to `path` in the format `name`, and compare what the file gives with what the task does.

    Return how far they agree at each of the sizes. A detector that is sure of nothing in the scenes has nothing to
    compare: another file of its best guesses is then written beside `path`, and compared in its place.

    Raises:
        ExportError: the format cannot hold the model, or the file does not run.
    """
    rows = _write_compared(task, name, graph, facts, path, sizes)
    if any(row.compared for row in rows):
        return rows
    with _finding_all(task.model):
        unsure = graph_of(task.model, task.info, preprocess=graph.preprocess)
        return _write_compared(task, name, unsure, facts, path.with_name(f"unsure{path.suffix}"), sizes)


def _write_compared(
    task: Task, name: str, graph: Graph, facts: Facts, path: Path, sizes: Sequence[Size]
) -> list[Agreement]:
    first, *others = _compared_images(graph, task.info, sizes)
    with _failing(f"{name} cannot hold this model"):
        FORMATS[name].write(graph, first, path, facts)
    with _failing(f"The {name} file does not run"):
        run = FORMATS[name].run(path)
        pairs = [(eager(task, images, graph), run(images)) for images in (first, *others)]
        return [agreement(task, size, *pair) for size, pair in zip(sizes, pairs, strict=True)]


@contextmanager
def _finding_all(model: nn.Module) -> Iterator[None]:
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


@contextmanager
def _failing(what: str) -> Iterator[None]:
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


def _compared_images(graph: Graph, info: DatasetInfo, sizes: Sequence[Size]) -> Iterator[Tensor]:
    """Return the images to compare a graph at: of the first size a batch, if it takes one."""
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
    """Return the outputs of a task's own model for what a graph takes."""
    height, width = images.shape[-2:]
    return graph.tensors(task.model(graph.normalised(images)), (height, width))
