"""Mask2Former and MaskFormer keep the contracts of dense heads, of detectors and of heads that give segments."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from coatseg.config.combinations import brings_losses
from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.detector import Detector
from coatseg.models.heads.base import Objects
from coatseg.models.heads.query.mask2former import mask2former
from coatseg.models.heads.query.maskformer import maskformer
from coatseg.models.heads.query.masks.head import MaskHead
from coatseg.models.model import Model
from coatseg.registry.names import table
from coatseg.results.features.maps import head_maps
from coatseg.structures import Level, Size
from tests.contracts.detector import DetectorContract
from tests.contracts.head import SMALL, SemanticHeadContract
from tests.contracts.segmenter import SegmenterContract

Levels = tuple[Level, ...]
FEW: dict[str, Any] = {"queries": 12, "width": 32, "decoder_layers": 3}


def small_mask2former(levels: Levels, classes: int, things: tuple[int, ...], output: str) -> MaskHead:
    narrow = {"encoder_layers": 1, "encoder_feed_forward": 32, "decoder_feed_forward": 64}
    return mask2former(levels, classes, things, output, **FEW, **narrow)


def small_maskformer(levels: Levels, classes: int, things: tuple[int, ...], output: str) -> MaskHead:
    return maskformer(levels, classes, things, output, **FEW, feed_forward=64, dropout=0.0)


class TestMask2FormerLogits(SemanticHeadContract):
    stride = 1

    def make(self, levels: Levels, classes: int) -> MaskHead:
        return small_mask2former(levels, classes, (), "logits")


class TestMaskFormerLogits(TestMask2FormerLogits):
    def make(self, levels: Levels, classes: int) -> MaskHead:
        return small_maskformer(levels, classes, (), "logits")


class TestMask2FormerObjects(DetectorContract):
    steps = 150

    def make(self, levels: Levels, classes: int) -> MaskHead:
        return small_mask2former(levels, classes, tuple(range(classes)), "masks")

    def found(self, detector: Detector, images: Tensor, sizes: list[Size] | None = None) -> list[Any]:
        each = sizes or [(images.shape[-2], images.shape[-1])] * len(images)
        rows: list[Any] = super().found(detector, images, sizes)
        objects = [row.objects(size, size) for row, size in zip(rows, each, strict=True)]
        assert all(one.masks is not None and len(one.masks) == len(one.boxes) for one in objects)
        return [Objects(one.boxes, one.labels, one.scores) for one in objects]

    def be_bold(self, detector: Detector) -> None:
        """It has no threshold, and no object only where no mask has a pixel."""

    def be_shy(self, detector: Detector) -> None:
        nn.init.zeros_(detector.head.decoder.pixels.mask_projection.weight)
        nn.init.zeros_(detector.head.decoder.pixels.mask_projection.bias)

    def test_finding_nothing_is_no_error(self) -> None:
        detector = self.detector()
        self.be_shy(detector)
        (row,) = self.found(detector, torch.zeros(1, 3, 64, 64))
        assert row.boxes.shape == (0, 4)
        assert len(row.labels) == len(row.scores) == 0

    def test_a_pyramid_whose_strides_do_not_double_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="needs feature maps at strides"):
            self.make((Level(4, 8), Level(16, 8), Level(32, 8)), 3)


class TestMaskFormerObjects(TestMask2FormerObjects):
    def make(self, levels: Levels, classes: int) -> MaskHead:
        return small_maskformer(levels, classes, tuple(range(classes)), "masks")


class TestMask2FormerSegments(SegmenterContract):
    steps = 150

    def make(self, levels: Levels, classes: int, things: tuple[int, ...]) -> MaskHead:
        return small_mask2former(levels, classes, things, "segments")


class TestMaskFormerSegments(SegmenterContract):
    steps = 400

    def make(self, levels: Levels, classes: int, things: tuple[int, ...]) -> MaskHead:
        return small_maskformer(levels, classes, things, "segments")


def test_every_dense_head_with_losses_of_its_own_is_tested_here() -> None:
    contracts = {name.removeprefix("Test").removesuffix("Logits").lower() for name in globals()}
    heads = {name for name, head in table("head").items() if head.__module__.startswith("coatseg.models.heads.query.m")}
    assert {name for name in heads if brings_losses(table("head")[name])} <= contracts


@pytest.mark.parametrize("output", ["logits", "segments"])
def test_its_maps_are_features_whatever_it_gives(output: str) -> None:
    backbone = CoaT(SMALL)
    head = small_mask2former(backbone.levels, 3, (0,), output)
    model = Model(backbone, head) if output == "logits" else Detector(backbone, head)
    extractor = head_maps(model.eval(), [4, 16])
    with torch.no_grad():
        (maps,) = extractor(torch.randn(1, 3, 64, 96), [(50, 70)])
    assert {stride: tuple(each.shape) for stride, each in maps.items()} == {4: (32, 13, 18), 16: (32, 4, 5)}


def test_a_dense_model_is_trained_by_its_heads_losses_whatever_the_padding_holds() -> None:
    torch.manual_seed(0)
    backbone = CoaT(SMALL)
    model = Model(backbone, small_mask2former(backbone.levels, 3, (), "logits")).train()
    images, labels = torch.randn(2, 3, 64, 64), torch.randint(-1, 3, (2, 64, 64))
    sizes = [(64, 64), (40, 50)]
    truth = [labels[0], labels[1, :40, :50]]
    other = images.clone()
    other[1, :, 40:] = torch.nan
    values = []
    for batch in (images, other):
        torch.manual_seed(1)
        values.append(model(batch, sizes, truth))
    torch.testing.assert_close(values[0], values[1])
    torch.stack(list(values[0].values())).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
