"""The formats that a model can be exported to: how each is written, and how what was written is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from coatseg.results import onnx, openvino, torch_export, torchscript
from coatseg.results.facts import Facts
from coatseg.results.graphs import Graph

Runner = Callable[[Tensor], list[Tensor]]
"""Images (B, C, H, W) float32 to a graph's outputs in their order."""


@dataclass(frozen=True)
class Format:
    """One format: the ending of its files, what writes a graph with its facts, traced at images, and what runs a file.

    `check` raises ConfigError if the format cannot hold a graph, or a library is missing. `leaves_out` says of what a
    graph does, if anything, what its files cannot do. `beside` are the endings of files that come with it.
    """

    suffix: str
    write: Callable[[Graph, Tensor, Path, Facts], None]
    run: Callable[[Path], Runner]
    check: Callable[[Graph], None]
    leaves_out: str = ""
    beside: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", onnx.write, onnx.run, onnx.check),
    "torch_export": Format(
        ".pt2", torch_export.write, torch_export.run, torch_export.check, leaves_out=torch_export.LEAVES_OUT
    ),
    "torchscript": Format(".pt", torchscript.write, torchscript.run, torchscript.check),
    "openvino": Format(".xml", openvino.write, openvino.run, openvino.check, beside=(".bin",)),
}
