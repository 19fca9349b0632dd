"""PyTorch's own files: a program of torch.export, which other compilers of PyTorch take, and TorchScript."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torchvision  # noqa: F401  # its operators are in the graphs of detectors
from torch import Tensor

from coatseg.results.export.facts import EXTRA_FILE, Facts
from coatseg.results.export.graph import Graph, quietly

NO_DETECTORS = "which boxes are kept depends on what they are, and torch.export follows one case"
REFUSES = "images of 32 pixels or less a side, which torch.export tells from all others"


def write_program(graph: Graph, images: Tensor, path: Path, facts: Facts) -> None:
    """Write a graph as a program of torch.export; the facts are in its extra file."""
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    with quietly(), torch.no_grad():
        program = torch.export.export(graph, (images,), dynamic_shapes=(free,), strict=False)
        torch.export.save(program, path, extra_files={EXTRA_FILE: json.dumps(dict(facts))})


def run_program(path: Path) -> Any:
    """Load a program, and return a function that runs it."""
    module: Any = torch.export.load(path).module()

    def runner(images: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return _listed(module(images))

    return runner


def write_trace(graph: Graph, images: Tensor, path: Path, facts: Facts) -> None:
    """Write a graph as TorchScript, traced at images; the facts are in its extra file."""
    with quietly(), torch.no_grad():
        trace: Any = torch.jit.trace
        traced = trace(graph, (images,), check_trace=False)
        torch.jit.save(traced, str(path), _extra_files={EXTRA_FILE: json.dumps(dict(facts)).encode()})


def run_trace(path: Path) -> Any:
    """Load a TorchScript file, and return a function that runs it."""
    with quietly():
        load: Any = torch.jit.load
        module = load(str(path), map_location="cpu")

    def runner(images: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return _listed(module(images))

    return runner


def _listed(outputs: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
