"""The formats that a model can be exported to: how a file is written, and how it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from coatseg.errors import ConfigError, nearest
from coatseg.results.export import to_onnx, to_openvino, to_torch
from coatseg.results.export.facts import Facts
from coatseg.results.export.graph import Graph
from coatseg.system.extras import needs

Runner = Callable[[Tensor], list[Tensor]]
"""Maps images (B, C, H, W) float32 to a graph's outputs, in order."""


@dataclass(frozen=True)
class Format:
    """A format: the suffix of its files, how a graph traced at images is written with its facts, and how a file is run.

    `libraries` come with the extra `extra`. `beside` are the suffixes of files that belong to a file. `no_detectors`
    says why the format cannot hold a detector, if it cannot; `refuses` says which images its files do not take.
    """

    suffix: str
    write: Callable[[Graph, Tensor, Path, Facts], None]
    run: Callable[[Path], Runner]
    libraries: tuple[str, ...] = ()
    extra: str = ""
    beside: tuple[str, ...] = ()
    no_detectors: str = ""
    refuses: str = ""


FORMATS: dict[str, Format] = {
    "onnx": Format(".onnx", to_onnx.write, to_onnx.Session, ("onnx", "onnxruntime"), "export"),
    "torch_export": Format(
        ".pt2",
        to_torch.write_program,
        to_torch.run_program,
        no_detectors=to_torch.NO_DETECTORS,
        refuses=to_torch.REFUSES,
    ),
    "torchscript": Format(".pt", to_torch.write_trace, to_torch.run_trace),
    "openvino": Format(".xml", to_openvino.write, to_openvino.run, ("onnx", "openvino"), "openvino", beside=(".bin",)),
}


def format_of(name: str) -> Format:
    """Return the format of a name.

    Raises:
        ConfigError: it is unknown, and the known ones are listed; or a library is missing.
    """
    if name not in FORMATS:
        raise ConfigError(f"format={name} is unknown.", nearest(name, FORMATS))
    needs(f"format={name}", FORMATS[name].extra, *FORMATS[name].libraries)
    return FORMATS[name]


def files_of(name: str, output: Path) -> list[Path]:
    """Return the files of an export in a format, the one called `output` last."""
    return [output.with_suffix(suffix) for suffix in (*FORMATS[name].beside, FORMATS[name].suffix)]


def check_holds(name: str, graph: Graph) -> None:
    """Raise if a format cannot hold a graph.

    Raises:
        ConfigError: it says why, and which formats can.
    """
    if FORMATS[name].no_detectors and not graph.any_batch:
        others = [other for other, form in FORMATS.items() if not form.no_detectors]
        raise ConfigError(
            f"format={name} cannot hold a detector: {FORMATS[name].no_detectors}.", f"Choose {', '.join(others)}."
        )
