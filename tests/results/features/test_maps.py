"""Which maps are kept: the backbone's levels, and what a head's classifier sees."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import create_backbone
from coatseg.models.detector import Detector
from coatseg.models.heads.detection.base import DetectorOptions
from coatseg.models.heads.detection.one_stage import retinanet
from coatseg.models.heads.semantic.fpn import fpn
from coatseg.models.model import Model
from coatseg.registry.names import make
from coatseg.results.features.maps import BackboneMaps, FeatureMaps, head_maps
from coatseg.results.features.model import named_model

SIZES = [(64, 96), (50, 70)]


@pytest.fixture(scope="module")
def dense() -> nn.Module:
    backbone = create_backbone("coat_lite_tiny")
    return Model(backbone, fpn(backbone.levels, 3, width=32, pyramid_width=16)).eval()


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    backbone = create_backbone("coat_lite_tiny")
    return Detector(backbone, retinanet(backbone.levels, 2, DetectorOptions(width=32))).eval()


def images() -> torch.Tensor:
    padded = torch.zeros(2, 3, 64, 96)
    for image, (height, width) in zip(padded, SIZES, strict=True):
        image[:, :height, :width] = torch.randn(3, height, width)
    return padded


def assert_alone(together: list[FeatureMaps], alone: list[FeatureMaps]) -> None:
    for one, other in zip(together, alone, strict=True):
        assert list(one) == list(other)
        for stride in one:
            torch.testing.assert_close(one[stride], other[stride], atol=2e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def segmenter() -> nn.Module:
    backbone = create_backbone("coat_lite_tiny")
    options = {"decoder": "fpn", "decoder_options": {"pyramid_width": 16, "width": 32}, "width": 32}
    head = make("head", "panoptic_deeplab", options, "head", levels=backbone.levels, classes=3, things=(1,))
    return Detector(backbone, head).eval()


@pytest.mark.parametrize("kind", ["dense", "detector", "segmenter", "backbone"])
def test_the_batch_changes_nothing(kind: str, dense: nn.Module, detector: nn.Module, segmenter: nn.Module) -> None:
    networks = {
        name: partial(head_maps, model)
        for name, model in {"dense": dense, "detector": detector, "segmenter": segmenter}.items()
    }
    networks["backbone"] = lambda: BackboneMaps(create_backbone("coat_lite_tiny").eval())
    extractor, batch = networks[kind](), images()
    with torch.inference_mode():
        alone = [
            extractor(image[None, :, :height, :width], [(height, width)])[0]
            for image, (height, width) in zip(batch, SIZES, strict=True)
        ]
        assert_alone(extractor(batch, SIZES), alone)


def test_the_classifier_makes_the_logits_of_the_head_s_map(dense: nn.Module) -> None:
    extractor = head_maps(dense)
    batch = images()[:1]
    with torch.inference_mode():
        (made,) = extractor(batch, SIZES[:1])
        logits = functional.interpolate(dense.head.classify(made[4][None]), SIZES[0], mode="bilinear")
        torch.testing.assert_close(logits, dense(batch).logits)
    assert extractor.strides == (4,)
    assert made[4].shape == (32, 16, 24)


def test_a_head_s_map_covers_the_image_and_no_more(dense: nn.Module) -> None:
    with torch.inference_mode():
        made = head_maps(dense)(torch.randn(1, 3, 50, 70), [(50, 70)])
    assert made[0][4].shape == (32, 13, 18)


def test_a_detector_gives_the_maps_of_its_pyramid(detector: nn.Module) -> None:
    extractor = head_maps(detector, [8, 64])
    with torch.inference_mode():
        (made,) = extractor(images()[:1], SIZES[:1])
    assert {stride: tuple(level.shape) for stride, level in made.items()} == {8: (32, 8, 12), 64: (32, 1, 2)}
    assert head_maps(detector).strides == (8, 16, 32, 64, 128)


def test_a_level_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="no map of stride 5") as error:
        named_model("coat_lite_tiny", {}, strides=[4, 5])
    assert "levels=[...] of 4, 8, 16, 32" in error.value.mend
    with pytest.raises(ConfigError, match="keeps no map"):
        named_model("coat_lite_tiny", {}, strides=[])


def test_a_head_without_a_known_last_map() -> None:
    backbone = create_backbone("coat_lite_tiny")
    head = fpn(backbone.levels, 3, width=32, pyramid_width=16)
    head.output = head.classify
    del head.classify
    with pytest.raises(ConfigError, match="no part called classify"):
        head_maps(Model(backbone, head))


def test_random_weights_are_the_same_each_time_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    made = named_model("coat_lite_tiny", {"drop_path": 0.1}).made
    assert torch.equal(torch.rand(1), expected)
    assert named_model("coat_lite_tiny", {}).made["weights"] == made["weights"]


def test_images_of_other_channels() -> None:
    model = named_model("coat_lite_tiny", {}, mean=[0.5] * 5, std=[0.2] * 5)
    assert model.network.in_channels == 5
    assert model.info.channels == 5
