"""torch.export: a program of torch's own operators, which other compilers of PyTorch start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coatseg.results.facts import EXTRA_FILE, Facts
from coatseg.results.graphs import Graph
from coatseg.results.tracing import quietly

NO_DETECTORS = "which boxes are kept depends on what they are, and torch.export follows one case"
REFUSES = "images of 32 pixels or less a side, which torch.export tells from all others"


def write(graph: Graph, images: Tensor, path: Path, facts: Facts) -> None:
    """Write the program of a graph; the facts are in its extra file."""
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    with quietly(), torch.no_grad():
        program = torch.export.export(graph, (images,), dynamic_shapes=(free,), strict=False)
        torch.export.save(program, path, extra_files={EXTRA_FILE: json.dumps(dict(facts))})


def run(path: Path) -> Any:
    """Open a file for running."""
    module: Any = torch.export.load(path).module()

    def runner(images: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return [module(images)]

    return runner
