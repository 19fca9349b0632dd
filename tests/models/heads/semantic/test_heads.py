"""Every head keeps the contract; each adds what is its own."""

import pytest
import torch

from coatseg.config.combinations import brings_losses
from coatseg.errors import ConfigError
from coatseg.models.heads.semantic.base import SemanticHead
from coatseg.models.heads.semantic.deeplab import deeplabv3, deeplabv3plus
from coatseg.models.heads.semantic.dpt import dpt
from coatseg.models.heads.semantic.fcn import fcn
from coatseg.models.heads.semantic.fpn import fpn
from coatseg.models.heads.semantic.linknet import linknet
from coatseg.models.heads.semantic.manet import manet
from coatseg.models.heads.semantic.pan import pan
from coatseg.models.heads.semantic.pspnet import pspnet
from coatseg.models.heads.semantic.segformer import segformer
from coatseg.models.heads.semantic.unet import unet
from coatseg.models.heads.semantic.unetplusplus import unetplusplus
from coatseg.models.heads.semantic.upernet import upernet
from coatseg.registry.names import table
from coatseg.structures import Level, parameter_count
from tests.contracts.head import LEVELS, SemanticHeadContract, pyramid

Levels = tuple[Level, ...]


class TestUnet(SemanticHeadContract):
    stride = 1

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return unet(levels, classes, widths=(32, 24, 16, 16, 8))


class TestUnetPlusPlus(SemanticHeadContract):
    stride = 1

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return unetplusplus(levels, classes, widths=(32, 24, 16, 16, 8))


class TestManet(SemanticHeadContract):
    stride = 1

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return manet(levels, classes, widths=(32, 24, 16, 16, 8), attention_width=16)


class TestLinknet(SemanticHeadContract):
    stride = 1

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return linknet(levels, classes, width=16)


class TestFpn(SemanticHeadContract):
    stride = 4

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return fpn(levels, classes, pyramid_width=32, width=32, dropout=0.0)

    def test_its_width_holds_32_groups(self) -> None:
        with pytest.raises(ConfigError, match=r"head\.width=48 is no multiple of 32"):
            fpn(LEVELS, 5, width=48)


class TestPspnet(SemanticHeadContract):
    stride = 16
    used = (16,)

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return pspnet(levels, classes, width=32)

    def test_channels_that_do_not_split_into_four_are_refused(self) -> None:
        levels = (*LEVELS[:2], Level(16, 26), LEVELS[3])
        with pytest.raises(ConfigError, match=r"has 26 at stride 16(.|\n)*head\.stride"):
            pspnet(levels, 5)
        assert pspnet(levels, 5, stride=8).classify.out_channels == 5


class TestPspnetOnTheCoarsestLevel(SemanticHeadContract):
    stride = 32
    used = (32,)

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return pspnet(levels, classes, width=32, stride=32)


class TestPan(SemanticHeadContract):
    stride = 4

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return pan(levels, classes, width=16)

    @pytest.mark.parametrize(
        ("image", "attended"), [((128, 256), (8, 16)), ((160, 96), (10, 8)), ((32, 64), (8, 8)), ((512, 512), (32, 32))]
    )
    def test_attention_is_at_stride_16_and_on_8_steps_at_least(
        self, image: tuple[int, int], attended: tuple[int, int]
    ) -> None:
        head = self.make(LEVELS, 5)
        seen = []
        head.decoder.decoder.fpa.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[-2:])))
        head(torch.zeros(1, 3, *image), pyramid(1, *image))
        assert seen == [attended]


class TestUpernet(SemanticHeadContract):
    stride = 4

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return upernet(levels, classes, width=32, dropout=0.0)


class TestSegformer(SemanticHeadContract):
    stride = 4

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return segformer(levels, classes, width=32)


class TestDpt(SemanticHeadContract):
    stride = 2

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return dpt(levels, classes, widths=(8, 8, 16, 16), width=16)


class TestDeepLabV3(SemanticHeadContract):
    stride = 16
    used = (16,)

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return deeplabv3(levels, classes, width=16)

    def test_its_pooling_has_the_rates_asked_for(self) -> None:
        convolutions = [part for part in deeplabv3(LEVELS, 5, rates=(2, 4, 8)).modules() if hasattr(part, "dilation")]
        assert sorted({part.dilation[0] for part in convolutions}) == [1, 2, 4, 8]


class TestDeepLabV3Plus(SemanticHeadContract):
    stride = 4
    used = (4, 16)

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return deeplabv3plus(levels, classes, width=16)


class TestFcn(SemanticHeadContract):
    stride = 16
    used = (16,)

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return fcn(levels, classes, width=16)

    def test_its_depth_is_the_number_of_convolutions(self) -> None:
        norms_and_classifier = 2 * (2 * 16) + (16 * 5 + 5)
        assert parameter_count(fcn(LEVELS, 5, width=16, depth=2)) == 9 * (24 * 16 + 16 * 16) + norms_and_classifier


class TestFcnOnTheFinestLevel(SemanticHeadContract):
    stride = 4
    used = (4,)

    def make(self, levels: Levels, classes: int) -> SemanticHead:
        return fcn(levels, classes, width=16, stride=4)


def test_every_head_of_the_table_is_tested_here() -> None:
    contracts = {name.removeprefix("Test").lower() for name in globals() if name.startswith("Test")}
    assert {name for name, head in table("head").items() if not brings_losses(head)} <= contracts


@pytest.mark.parametrize("head", ["unet", "unetplusplus", "manet", "dpt"])
def test_the_number_of_widths_is_checked(head: str) -> None:
    with pytest.raises(ConfigError, match=r"head\.widths has 2 entries(.|\n)*has [45] blocks"):
        table("head")[head](LEVELS, 5, widths=(8, 8))


@pytest.mark.parametrize("head", ["unet", "unetplusplus", "manet", "linknet"])
def test_the_head_restores_every_pixel_without_a_map_at_stride_2(head: str) -> None:
    made = table("head")[head](LEVELS, 5)
    with torch.no_grad():
        assert made(torch.zeros(1, 3, 64, 96), pyramid(1, 64, 96)).shape == (1, 5, 64, 96)
