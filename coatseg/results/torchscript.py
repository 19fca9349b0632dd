"""TorchScript: a traced module, run by torch.jit.load in Python or C++."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torchvision  # noqa: F401  # its operators are in the graphs of detectors
from torch import Tensor

from coatseg.results.facts import EXTRA_FILE, Facts
from coatseg.results.graphs import Graph
from coatseg.results.tracing import quietly


def write(graph: Graph, images: Tensor, path: Path, facts: Facts) -> None:
    """Write a graph, traced at images; the facts are in its extra file."""
    with quietly(), torch.no_grad():
        trace: Any = torch.jit.trace
        traced = trace(graph, (images,), check_trace=False)
        torch.jit.save(traced, str(path), _extra_files={EXTRA_FILE: json.dumps(dict(facts)).encode()})


def run(path: Path) -> Any:
    """Open a file for running."""
    with quietly():
        load: Any = torch.jit.load
        module = load(str(path), map_location="cpu")

    def runner(images: Tensor) -> list[Tensor]:
        with torch.no_grad():
            outputs = module(images)
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)

    return runner
