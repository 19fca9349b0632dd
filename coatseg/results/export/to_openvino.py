"""OpenVINO's intermediate representation, converted from ONNX: one file of the graph, and one of the weights."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coatseg.results.export import to_onnx
from coatseg.results.export.facts import RECORD, Facts
from coatseg.results.export.graph import Graph


def write(graph: Graph, images: Tensor, path: Path, facts: Facts) -> None:
    """Write a graph, and its weights in float32 as .bin beside it; the facts are its runtime information."""
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        between = Path(folder) / "graph.onnx"
        to_onnx.write(graph, images, between, facts)
        model = openvino.convert_model(between)
        for name, text in facts.items():
            model.set_rt_info(text, [RECORD, name])
        openvino.save_model(model, path, compress_to_fp16=False)


def run(path: Path) -> Any:
    """Load a file, and return a function that runs it on the CPU, in float32 also where OpenVINO would not."""
    import openvino

    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def runner(images: Tensor) -> list[Tensor]:
        outputs = model(images.numpy())
        return [torch.from_numpy(outputs[place].copy()) for place in range(len(model.outputs))]

    return runner
