"""ONNX: written by torch's tracing exporter, run by ONNX Runtime.

The other exporter of torch fails on every detector, and takes a minute where this one takes a second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coatseg.errors import CheckpointError
from coatseg.results.export.facts import Facts
from coatseg.results.export.graph import Graph, quietly
from coatseg.system.extras import needs

OPSET = 17
"""The first operators with layer norms; RoIAlign without a shift of half a pixel came with 16."""
INPUT = "images"
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


def write(graph: Graph, images: Tensor, path: Path, facts: Facts) -> None:
    """Write a graph, traced at images, with its facts as metadata."""
    import onnx

    batch = {0: "batch"} if graph.any_batch else {}
    with quietly(), torch.no_grad():
        torch.onnx.export(
            graph,
            (images,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(graph.outputs),
            dynamic_axes={INPUT: {**batch, 2: "height", 3: "width"}, **graph.axes},
        )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, dict(facts))
    model.producer_name = "coatseg"
    model.graph.doc_string = f"{facts['input']} -> {facts['output']}"
    onnx.checker.check_model(model)
    onnx.save(model, path)


class Session:
    """A file of ONNX in ONNX Runtime, on an accelerator that it knows or on as many threads of the CPU as torch takes.

    Raises:
        CheckpointError: it cannot be read as ONNX.
    """

    def __init__(self, path: Path) -> None:
        needs("ONNX files", "export", "onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # it warns of shapes that differ from the trace's, which they may
        known = onnxruntime.get_available_providers()
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=[provider for provider in PROVIDERS if provider in known]
            )
        except Exception as error:  # of many kinds, all its own
            raise CheckpointError(
                f"{path} cannot be read as ONNX: {str(error).splitlines()[0]}.",
                "It may be cut off or of another kind; coatseg export checkpoint=... writes one.",
            ) from error

    @property
    def facts(self) -> Facts:
        """What the file says of itself."""
        facts: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        return facts

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs in their order."""
        return tuple(output.name for output in self.session.get_outputs())

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Run images (B, C, H, W) float32; the outputs are on their device."""
        given: dict[str, Any] = {INPUT: np.ascontiguousarray(images.cpu().numpy())}
        return [torch.from_numpy(output).to(images.device) for output in self.session.run(None, given)]
