"""What stands in for modules in an exported graph computes what they do; every head goes into a graph of any size."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from coatseg.config.combinations import gives
from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.detector import Detector
from coatseg.models.heads.query.mask2former import mask2former
from coatseg.models.model import Model
from coatseg.registry.names import make, table
from coatseg.results.export import to_torch
from coatseg.results.export.graph import MatrixPool, RegionNorm, graph_of
from coatseg.results.export.to_onnx import Session, write
from coatseg.structures import DatasetInfo
from tests.contracts.head import LEVELS, SMALL

INFO = DatasetInfo("three", ("a", "b", "c"), ((0, 0, 0),) * 3, frozenset({"semantic", "instances"}))
FACTS = {"input": "images", "output": "tensors"}
FEW = {"width": 16, "proposals": (200, 100), "regions": 64, "norm": "group"}
OPTIONS = {
    "faster_rcnn": FEW,
    "mask_rcnn": {**FEW, "mask_width": 8, "box_head": "conv"},
    "cascade_rcnn": FEW,
    "cascade_mask_rcnn": {**FEW, "mask_width": 8, "box_head": "conv"},
    "retinanet": {"width": 16, "norm": "group"},
    "fcos": {"width": 32, "norm": "group"},
}
SMALL_QUERIES = {head: {"width": 32, "queries": 7, "decoder_layers": 3} for head in ("mask2former", "maskformer")}
DENSE = sorted(head for head in table("head") if "logits" in gives(head))
OBJECTS = sorted(set(table("head")) - set(DENSE))
QUICK = ("pspnet", "pan")
"""Those that need something put in a module's place; all others are swept."""


def marked(heads: list[str]) -> list[object]:
    return [head if head in QUICK else pytest.param(head, marks=pytest.mark.sweep) for head in heads]


@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 13), (3, 20), (1, 1)])
def test_pooling_by_matrices_is_adaptive_pooling(height: int, width: int) -> None:
    maps = torch.randn(2, 3, height, width)
    for size in ((6, 6), (2, 3)):
        torch.testing.assert_close(MatrixPool(*size)(maps), nn.AdaptiveAvgPool2d(size)(maps))


def test_a_norm_of_regions_is_a_group_norm_and_takes_no_region() -> None:
    norm = nn.GroupNorm(4, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    regions = torch.randn(5, 8, 7, 7)
    torch.testing.assert_close(RegionNorm(norm)(regions), norm(regions), rtol=1e-4, atol=1e-5)
    assert RegionNorm(norm)(regions[:0]).shape == (0, 8, 7, 7)


def test_the_model_itself_stays_as_it_is() -> None:
    backbone = CoaT(SMALL)
    model = Model(backbone, table("head")["upernet"](backbone.levels, 3), table("head")["fcn"](backbone.levels, 3))
    graph = graph_of(model.train(), INFO, preprocess=True)
    assert model.training
    assert model.auxiliary is not None
    assert any(isinstance(module, nn.AdaptiveAvgPool2d) for module in model.modules())
    assert not any("auxiliary" in name for name, _ in graph.named_parameters())
    images = torch.rand(1, 3, 64, 64)
    pixels = 255 * (images * torch.tensor(INFO.std).view(-1, 1, 1) + torch.tensor(INFO.mean).view(-1, 1, 1))
    torch.testing.assert_close(graph(pixels), model.eval()(images).logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("head", marked(DENSE))
def test_a_dense_head_is_traced_for_any_batch_and_size(head: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = CoaT(SMALL)
    model = Model(backbone, table("head")[head](backbone.levels, 3, **SMALL_QUERIES.get(head, {}))).eval()
    graph = graph_of(model, INFO, preprocess=False)
    traced = torch.randn(2, 3, 100, 134)
    write(graph, traced, tmp_path / "a.onnx", FACTS)
    to_torch.write_trace(graph, traced, tmp_path / "a.pt", FACTS)
    for run in (Session(tmp_path / "a.onnx"), to_torch.run_trace(tmp_path / "a.pt")):
        for shape in ((3, 3, 96, 160), (1, 3, 70, 33), (1, 3, 20, 20)):
            images = torch.randn(shape)
            with torch.no_grad():
                torch.testing.assert_close(run(images)[0], model(images).logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("output", ["masks", "segments"])
def test_objects_and_segments_of_queries_are_refused(output: str) -> None:
    head = mask2former(LEVELS, 3, (0,), output, width=16, encoder_layers=1, decoder_layers=1)
    with pytest.raises(ConfigError, match=r"in no format(.|\n)*trained with task=seg"):
        graph_of(Detector(CoaT(SMALL), head), INFO, preprocess=False)


@pytest.mark.parametrize("head", marked(OBJECTS))
def test_a_detector_is_traced_for_any_size_and_finds_nothing_where_there_is_nothing(head: str, tmp_path: Path) -> None:
    for threshold in (0.0, 0.9999):
        torch.manual_seed(0)
        backbone = CoaT(SMALL)
        options = {"score_threshold": threshold, **OPTIONS[head]}
        made = make("head", head, options, "head", levels=backbone.levels, classes=3)
        model = Detector(backbone, made).eval()
        graph = graph_of(model, INFO, preprocess=False)
        write(graph, torch.randn(1, 3, 100, 134), tmp_path / "a.onnx", FACTS)
        to_torch.write_trace(graph, torch.randn(1, 3, 100, 134), tmp_path / "a.pt", FACTS)
        for run in (Session(tmp_path / "a.onnx"), to_torch.run_trace(tmp_path / "a.pt")):
            for height, width in ((96, 160), (70, 33)):
                images = torch.randn(1, 3, height, width)
                with torch.no_grad():
                    (found,) = model(images)
                assert_found(run(images), [getattr(found, name) for name in graph.outputs], some=threshold == 0)


def assert_found(given: list[Tensor], expected: list[Tensor], *, some: bool) -> None:
    assert bool(len(expected[0])) == some
    assert [rows.shape for rows in given] == [rows.shape for rows in expected]
    # Equal scores may come in another order, so each object is looked for by its scores alone.
    torch.testing.assert_close(given[2], expected[2], rtol=0, atol=1e-5)
    if some:
        nearest = (given[0][:, None] - expected[0]).abs().amax(-1).amin(1)
        assert (nearest < 1e-3).float().mean() >= 0.95
