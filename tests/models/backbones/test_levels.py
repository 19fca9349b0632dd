"""A backbone asked for fewer levels gives these, and neither computes nor trains what only others need."""

from __future__ import annotations

import pytest
import torch

from coatseg.config.build import build_model
from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import STAGES, create_backbone
from coatseg.registry import names
from tests.contracts.backbone import images

CHOICES = [(0,), (0, 1), (0, 1, 2), (0, 1, 2, 3), (1, 3), (2,)]
# Parallel blocks take the scales 2 to 4, so that whoever wants one of them needs all.
CHOSEN = [("coat_lite_tiny", indices, max(indices) + 1) for indices in CHOICES] + [
    ("coat_tiny", indices, 1 if indices == (0,) else 4) for indices in CHOICES
]


@pytest.mark.parametrize(("name", "indices", "stages"), CHOSEN)
def test_levels_are_those_of_the_whole_backbone_and_nothing_else_is_run_or_trained(name, indices, stages):
    torch.manual_seed(0)
    whole = create_backbone(name)
    some = create_backbone(name, out_indices=indices)
    assert list(some.state_dict()) == list(whole.state_dict())
    some.load_state_dict(whole.state_dict())
    assert some.levels == tuple(whole.levels[index] for index in indices)

    run = set()
    for stage in STAGES:
        for part in ("patch_embed", "serial_blocks"):
            module = some.get_submodule(f"{part}{stage}")
            module = module[0] if part == "serial_blocks" else module
            module.register_forward_hook(lambda *_, stage=stage: run.add(stage))
    given = images(2, 64, 96)
    maps, expected = some(given), whole(given)
    assert run == set(STAGES[:stages])
    for image, index in zip(maps, indices, strict=True):
        assert torch.equal(image, expected[index])

    sum((image * torch.randn_like(image)).sum() for image in maps).backward()
    assert {name: parameter.grad is not None for name, parameter in some.named_parameters()} == {
        name: parameter.requires_grad for name, parameter in some.named_parameters()
    }
    frozen = {name for name, parameter in some.named_parameters() if not parameter.requires_grad}
    unrun = {name for name in some.state_dict() if any(f"{part}{stage}." in name or name == f"cls_token{stage}"
             for part in ("patch_embed", "cpe", "crpe", "serial_blocks") for stage in STAGES[stages:])}  # fmt: skip
    assert unrun <= frozen
    assert bool(frozen) == (indices != (0, 1, 2, 3) and not (name == "coat_lite_tiny" and max(indices) == 3)), frozen


@pytest.mark.parametrize("indices", [[], [2, 1], [0, 0], [4], [-1]])
def test_other_levels_are_refused(indices):
    backbone = create_backbone("coat_lite_tiny")
    with pytest.raises(ConfigError, match=r"out_indices=(.|\n)*[Gg]ive levels from 0 to 3 in order"):
        backbone.choose_levels(indices)
    with pytest.raises(ConfigError, match=r"out_indices(.|\n)*[Gg]ive levels from 0 to 3 in order"):
        names.create_backbone("coat_lite_tiny", out_indices=indices)
    assert backbone.out_indices == (0, 1, 2, 3)


def test_levels_are_named_by_their_strides():
    by_stride = names.create_backbone("coat_lite_tiny", levels=[4, 16])
    assert by_stride.levels == create_backbone("coat_lite_tiny", out_indices=(0, 2)).levels
    assert [level.stride for level in by_stride.levels] == [4, 16]


@pytest.mark.parametrize("strides", [[], [8, 4], [4, 4], [5], ["4"], 4])
def test_other_strides_are_refused(strides):
    with pytest.raises(ConfigError, match=r"levels=(.|\n)*Give strides of 4, 8, 16 and 32 in order"):
        names.create_backbone("coat_lite_tiny", levels=strides)


def test_levels_are_named_in_one_way():
    with pytest.raises(ConfigError, match=r"both say(.|\n)*Leave out_indices out"):
        names.create_backbone("coat_lite_tiny", levels=[4], out_indices=[0])


def test_levels_may_be_chosen_with_padding():
    backbone = create_backbone("coat_lite_tiny", out_indices=(0, 2))
    given, sizes = images(2, 64, 96), [(64, 96), (50, 33)]
    with torch.no_grad():
        expected = create_backbone("coat_lite_tiny")
        expected.load_state_dict(backbone.state_dict())
        whole = expected(given, sizes)
        assert all(torch.equal(one, whole[index]) for one, index in zip(backbone(given, sizes), (0, 2), strict=True))


def test_frozen_stages_stay_frozen_when_levels_are_chosen():
    backbone = create_backbone("coat_lite_tiny", frozen_stages=2, out_indices=(0, 1, 2))
    learning = {name.partition(".")[0] for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert learning == {"patch_embed3", "cls_token3", "cpe3", "crpe3", "serial_blocks3"}


@pytest.mark.parametrize(("head", "coarsest"), [("deeplabv3plus", 16), ("fpn", 32)])
def test_a_model_runs_the_stages_that_its_head_looks_at(composed, head, coarsest):
    plan = read(composed("backbone=coat_lite_tiny", f"head={head}", "backbone.pretrained=false"))
    model = build_model(plan.task, build_data(plan).info)
    run = []
    model.backbone.patch_embed4.register_forward_hook(lambda *_: run.append(4))
    model.train()(images(2, 128, 128)).logits.sum().backward()
    of_stage_4 = {f"backbone.{name}" for name, _ in model.backbone.named_parameters() if name.split(".")[0][-1] == "4"}
    if coarsest == 32:
        assert run
        assert not model.unused
    else:
        assert not run
        assert of_stage_4 <= set(model.unused)
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("frozen", range(5))
@pytest.mark.parametrize("indices", [(0,), (0, 1), (0, 1, 2), (3,)])
@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_frozen_stages_and_fewer_levels_go_together(name, indices, frozen):
    backbone = create_backbone(name, frozen_stages=frozen, out_indices=indices, drop_path=0.3)
    maps = backbone.train()(torch.zeros(1, 3, 64, 64))
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    if trained:
        torch.stack([image.square().sum() for image in maps]).sum().backward()
    assert all(parameter.grad is not None for parameter in trained)


def test_choosing_levels_draws_no_random_numbers_and_works_in_any_precision():
    backbone = create_backbone("coat_lite_tiny", drop_path=0.3).double()
    state = torch.get_rng_state()
    with torch.inference_mode():
        backbone.choose_levels([0])
    assert torch.equal(torch.get_rng_state(), state)
    assert [image.shape[1] for image in backbone(torch.zeros(1, 3, 64, 64).double())] == [64]


@pytest.mark.parametrize(("indices", "scales"), [((0, 1, 2, 3), 3), ((0, 3), 1), ((1, 2), 2)])
def test_the_last_parallel_block_widens_only_the_scales_that_are_asked_for(indices, scales):
    backbone = create_backbone("coat_tiny", out_indices=indices)
    calls = []
    for block in backbone.parallel_blocks:
        block.mlp2.register_forward_hook(lambda mlp, *_: calls.append(mlp))
    backbone(images(1, 64, 64))
    counts = [sum(mlp is block.mlp2 for mlp in calls) for block in backbone.parallel_blocks]
    assert counts == [3, 3, 3, 3, 3, scales]
