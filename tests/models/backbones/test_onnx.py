from __future__ import annotations

import pytest
import torch

from coatseg.models.backbones.coat import CoaT
from coatseg.models.backbones.variants import Variant, find_variant
from tests.contracts.backbone import images

SHALLOW = Variant((64, 128, 256, 320), (8, 8, 4, 4), serial_depths=(1, 1, 1, 1))
"""CoaT-Lite Tiny with one block a stage: the exporter's time goes with the number of blocks."""


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(SHALLOW, id="shallow"),
        *(
            pytest.param(find_variant(name), id=name, marks=pytest.mark.sweep)
            for name in ("coat_lite_tiny", "coat_tiny")
        ),
    ],
)
def test_an_onnx_file_gives_at_any_size_what_the_backbone_gives(variant, tmp_path):
    import onnxruntime  # heavy, and wanted here only

    torch.manual_seed(0)
    model, file = CoaT(variant).eval(), tmp_path / "backbone.onnx"
    sizes = {2: torch.export.Dim("height", min=64, max=1024), 3: torch.export.Dim("width", min=64, max=1024)}
    torch.onnx.export(
        model, (images(1, 96, 160),), file, dynamo=True, dynamic_shapes=(sizes,),
        input_names=["images"], verbose=False,
    )  # fmt: skip
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for height, width in ((96, 160), (100, 70), (250, 333)):
        given = images(1, height, width)
        with torch.no_grad():
            expected = model(given)
        for ours, found in zip(expected, session.run(None, {"images": given.numpy()}), strict=True):
            assert (ours - torch.from_numpy(found)).abs().max() < 1e-5 * ours.abs().max()
