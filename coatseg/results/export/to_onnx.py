"""ONNX files: written by torch's tracing exporter, run by ONNX Runtime.

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
"""The first opset with layer norms; RoIAlign without a shift of half a pixel came with 16."""
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
    """An ONNX file in ONNX Runtime, on an accelerator that it knows, or on as many CPU threads as torch uses.

    Raises:
        CheckpointError: it cannot be read as ONNX.
    """

    def __init__(self, path: Path) -> None:
        needs("ONNX files", "export", "onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3  # it would warn about shapes other than the trace's, which are allowed
        known = onnxruntime.get_available_providers()
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=[provider for provider in PROVIDERS if provider in known]
            )
        except Exception as error:  # ONNX Runtime raises many kinds of its own
            raise CheckpointError(
                f"{path} cannot be read as ONNX: {str(error).splitlines()[0]}.",
                "It may be cut off or of another kind; coatseg export checkpoint=... writes one.",
            ) from error

    @property
    def facts(self) -> Facts:
        """The facts in the file's metadata."""
        facts: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        return facts

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs, in order."""
        return tuple(output.name for output in self.session.get_outputs())

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return the outputs for images (B, C, H, W) float32, on the images' device."""
        given: dict[str, Any] = {INPUT: np.ascontiguousarray(images.cpu().numpy())}
        return [torch.from_numpy(output).to(images.device) for output in self.session.run(None, given)]
