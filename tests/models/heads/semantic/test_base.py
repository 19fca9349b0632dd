import inspect

import pytest
import torch
from torch import nn

from coatseg.config.combinations import brings_losses
from coatseg.models.heads.semantic.base import group_count, with_norm
from coatseg.registry.names import table
from tests.contracts.head import LEVELS

SEMANTIC = {name: head for name, head in table("head").items() if not brings_losses(head)}
WITH_NORM = [name for name, head in SEMANTIC.items() if "norm" in inspect.signature(head).parameters]


@pytest.mark.parametrize(("channels", "groups"), [(256, 32), (128, 16), (64, 8), (16, 2), (8, 1), (24, 3), (152, 19)])
def test_groups_have_eight_channels_or_more_and_share_evenly(channels: int, groups: int) -> None:
    assert group_count(channels) == groups
    assert channels % groups == 0


def norms(head: str, **options: object) -> set[type]:
    with torch.device("meta"):
        made = table("head")[head](LEVELS, 5, **options)
    return {type(module) for module in made.modules()} & {nn.BatchNorm2d, nn.GroupNorm}


def test_every_head_but_fpn_has_a_choice_of_norms() -> None:
    assert set(SEMANTIC) - set(WITH_NORM) == {"fpn"}


@pytest.mark.parametrize("head", WITH_NORM)
def test_norms_are_group_norms_unless_batch_norms_are_asked_for(head: str) -> None:
    assert norms(head) == {nn.GroupNorm}
    assert norms(head, norm="batch") == {nn.BatchNorm2d}


def test_a_map_of_one_channel_goes_without_a_group_norm() -> None:
    kinds = [type(part) for part in with_norm(nn.Sequential(nn.BatchNorm2d(1), nn.BatchNorm2d(8)), "group")]
    assert kinds == [nn.Identity, nn.GroupNorm]
