import pytest
import torch

from coatseg.errors import ConfigError
from coatseg.heads.semantic import SemanticHead, fpn, group_count, unet, upernet
from coatseg.structures import Level
from tests.contracts.head import LEVELS, SemanticHeadContract


class TestUnet(SemanticHeadContract):
    def make(self, levels: tuple[Level, ...], classes: int) -> SemanticHead:
        return unet(levels, classes, widths=(32, 24, 16, 16, 8))

    def test_the_number_of_widths_is_checked(self) -> None:
        with pytest.raises(ConfigError, match=r"head\.widths has 2"):
            unet(LEVELS, 5, widths=(8, 8))


class TestFpn(SemanticHeadContract):
    def make(self, levels: tuple[Level, ...], classes: int) -> SemanticHead:
        return fpn(levels, classes, pyramid_width=32, width=32, dropout=0.0)


class TestUpernet(SemanticHeadContract):
    def make(self, levels: tuple[Level, ...], classes: int) -> SemanticHead:
        return upernet(levels, classes, width=32, dropout=0.0)


@pytest.mark.parametrize(("channels", "groups"), [(256, 32), (128, 16), (64, 8), (16, 2), (8, 1), (24, 3), (152, 19)])
def test_groups_have_eight_channels_or_more_and_share_evenly(channels: int, groups: int) -> None:
    assert group_count(channels) == groups
    assert channels % groups == 0


def test_batch_norm_can_be_asked_for() -> None:
    kinds = {type(module) for module in unet(LEVELS, 5, widths=(8, 8, 8, 8, 8), norm="batch").modules()}
    assert torch.nn.BatchNorm2d in kinds
    assert torch.nn.GroupNorm not in kinds
