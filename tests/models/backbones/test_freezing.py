"""Frozen stages keep their weights and statistics through a step of training, and all others learn."""

import pytest
import torch
from torch import nn

from coatseg.errors import ConfigError
from coatseg.models.backbones import coat, timm
from coatseg.registry.names import create_backbone
from coatseg.training.optimization.optimizers import sgd
from tests.contracts.backbone import images

SWIN = "swin_tiny_patch4_window7_224"


def frozen(backbone: nn.Module) -> set[str]:
    return {name for name, parameter in backbone.named_parameters() if not parameter.requires_grad}


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def changed_by_a_step(backbone: nn.Module) -> set[str]:
    """Take one step of training, and name the parameters and buffers that are not what they were."""
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    learning = [image for image in backbone.train()(images(2, 64, 64)) if image.requires_grad]
    torch.autograd.backward(learning, [torch.randn_like(image) for image in learning])
    sgd(backbone, lr=0.1).step()
    return {name for name, value in backbone.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(
    ("name", "count", "after"),
    [("coat_tiny", 2, {"parallel_blocks"}), ("coat_lite_tiny", 1, set()), ("coat_lite_tiny", 0, set())],
)
def test_the_first_stages_of_coat_stay_and_the_others_learn(name: str, count: int, after: set[str]) -> None:
    backbone = coat.create_backbone(name, frozen_stages=count)
    parts = ("patch_embed", "cls_token", "cpe", "crpe", "serial_blocks")
    assert top(frozen(backbone)) == {f"{part}{stage}" for part in parts for stage in range(1, count + 1)}
    assert top(changed_by_a_step(backbone)) == after | {
        f"{part}{stage}" for part in parts for stage in range(count + 1, 5)
    }


def test_all_of_coat_lite_can_be_frozen_and_of_coat_all_but_the_parallel_blocks() -> None:
    lite = coat.create_backbone("coat_lite_tiny", frozen_stages=4)
    assert frozen(lite) == {name for name, _ in lite.named_parameters()}
    assert not any(image.requires_grad for image in lite(images(1, 32, 32)))
    tiny = coat.create_backbone("coat_tiny", frozen_stages=4)
    assert {name for name, _ in tiny.named_parameters()} - frozen(tiny) == {
        name for name, _ in tiny.named_parameters() if name.startswith("parallel_blocks.")
    }


def test_nothing_is_dropped_in_frozen_stages() -> None:
    backbone = coat.create_backbone("coat_lite_tiny", drop_path=0.5, frozen_stages=2)
    for mode in (True, False, True):
        backbone.train(mode)
        assert [block.training for block in (backbone.serial_blocks2[1], backbone.serial_blocks3[0])] == [False, mode]
    first, second = backbone(images(8, 64, 64)), backbone(images(8, 64, 64))
    assert [torch.equal(one, other) for one, other in zip(first, second, strict=True)] == [True, True, False, False]


STEM = {"model.conv1", "model.bn1"}


@pytest.mark.parametrize(("count", "layers"), [(0, set()), (1, {1}), (3, {1, 2, 3}), (4, {1, 2, 3, 4})])
def test_of_timm_what_leads_to_the_frozen_maps_is_frozen(count: int, layers: set[int]) -> None:
    backbone = timm.create_backbone("resnet18", frozen_stages=count)
    modules = {".".join(name.split(".")[:2]) for name in frozen(backbone)}
    assert modules == {f"model.layer{layer}" for layer in layers} | (STEM if count else set())
    assert backbone.training == (count < 4)


def test_batch_norms_of_frozen_stages_keep_their_statistics() -> None:
    backbone = timm.create_backbone("resnet18", frozen_stages=2)
    state = set(backbone.state_dict())
    kept = {name for name in state if name.startswith(("model.conv1", "model.bn1", "model.layer1", "model.layer2"))}
    changed = changed_by_a_step(backbone)
    assert not changed & kept
    assert {name for name in state - kept if "running" in name or "bn2.weight" in name} <= changed


@pytest.mark.parametrize(
    ("model", "stages"),
    [
        ("pvt_v2_b0", {"patch_embed", "stages_0"}),
        ("efficientnet_b0", {"conv_stem", "bn1", "blocks.0", "blocks.1"}),
        (SWIN, {"patch_embed", "layers_0"}),
        ("coat_lite_tiny", {"cls_token1", "patch_embed1", "cpe1", "crpe1", "serial_blocks1"}),
    ],
)
def test_stages_are_found_whatever_a_model_calls_them(model: str, stages: set[str]) -> None:
    backbone = timm.create_backbone(model, frozen_stages=1)
    names = {name.removeprefix("model.").removeprefix("model.") for name in frozen(backbone)}
    assert names
    assert {stage for stage in stages if any(name.startswith(stage) for name in names)} == stages
    assert all(name.startswith(tuple(stages)) for name in names)


@pytest.mark.parametrize("options", [{"name": "coat_tiny"}, {"name": "timm", "model": "resnet18"}], ids=str)
def test_there_are_four_stages(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"frozen_stages=5 does not fit(.|\n)*less than or equal to 4"):
        create_backbone(**options, frozen_stages=5)
