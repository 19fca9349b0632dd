from __future__ import annotations

import pytest
import torch

from coatseg.models.backbones.coat import create_backbone
from tests.contracts.backbone import images


@pytest.mark.parametrize("name", ["coat_lite_tiny", pytest.param("coat_tiny", marks=pytest.mark.sweep)])
def test_an_onnx_file_gives_at_any_size_what_the_backbone_gives(name, tmp_path):
    import onnxruntime  # heavy, and wanted here only

    torch.manual_seed(0)
    model, file = create_backbone(name).eval(), tmp_path / "backbone.onnx"
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
