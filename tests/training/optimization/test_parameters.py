import pytest
import torch
from torch import nn

from coatseg.models.model import Model
from coatseg.registry.names import constructor_of, create_backbone
from coatseg.training.optimization.parameters import Grouping, parameter_groups, rate_shares


@pytest.fixture(scope="module")
def model() -> Model:
    backbone = create_backbone("coat_lite_tiny")
    return Model(backbone, constructor_of("head", "fpn")(backbone.levels, 3, width=32, pyramid_width=16))


def rates(model: nn.Module, **options: float) -> dict[str, float]:
    """The learning rate of every parameter in a group; the base rate is 1."""
    groups = parameter_groups(model, Grouping(**options), lr=1.0, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    placed = [(names[id(parameter)], group["lr"]) for group in groups for parameter in group["params"]]
    assert len(placed) == len(dict(placed))
    return dict(placed)


@pytest.mark.parametrize("options", [{}, {"layer_decay": 0.8}, {"backbone_rate": 0.1}], ids=str)
def test_every_parameter_is_in_one_group(model: Model, options: dict[str, float]) -> None:
    assert rates(model, **options).keys() == dict(model.named_parameters()).keys()


def test_norms_biases_and_class_tokens_do_not_decay(model: Model) -> None:
    for options in ({}, {"layer_decay": 0.8}):
        groups = parameter_groups(model, Grouping(**options), lr=1.0, weight_decay=0.05)
        exempt = {id(p) for group in groups for p in group["params"] if group["weight_decay"] == 0}
        found = {name for name, parameter in model.named_parameters() if id(parameter) in exempt}
        assert found == {name for name, p in model.named_parameters() if p.ndim == 1 or "cls_token" in name}
        assert "backbone.cls_token1" in found
        assert "backbone.patch_embed1.norm.weight" in found
        assert {group["weight_decay"] for group in groups} == {0.0, 0.05}


def test_everything_decays_where_asked_to(model: Model) -> None:
    (group,) = parameter_groups(model, Grouping(decay_all=True), lr=1.0, weight_decay=0.05)
    assert len(group["params"]) == len(list(model.parameters()))
    assert group["weight_decay"] == 0.05


def test_layer_wise_rates_by_their_formula(model: Model) -> None:
    depths = model.backbone.depths()
    last = max(depths.values())
    assert last == 8  # the second block of the fourth stage, after the first patch embedding
    found = rates(model, layer_decay=0.75)
    expected = {f"backbone.{name}": 0.75 ** (last + 1 - depth) for name, depth in depths.items()}
    expected |= {name: 1.0 for name in found if name.startswith("head.")}
    assert found == pytest.approx(expected)
    assert found["backbone.serial_blocks4.1.mlp.fc1.weight"] == pytest.approx(0.75)
    assert found["backbone.patch_embed1.proj.weight"] == pytest.approx(0.75**9)


def test_the_backbone_is_trained_at_a_share_of_the_rate(model: Model) -> None:
    assert {name.partition(".")[0]: rate for name, rate in rates(model, backbone_rate=0.1).items()} == {
        "backbone": 0.1,
        "head": 1.0,
    }
    both = rates(model, backbone_rate=0.1, layer_decay=0.5)
    assert both["backbone.patch_embed1.proj.weight"] == pytest.approx(0.1 * 0.5**9)


def test_the_base_rate_comes_first(model: Model) -> None:
    groups = parameter_groups(model, Grouping(layer_decay=0.7), lr=0.3, weight_decay=0.1)
    found = [group["lr"] for group in groups]
    assert found[0] == 0.3
    assert found == sorted(found, reverse=True)
    assert len(parameter_groups(model, lr=0.3, weight_decay=0.1)) == 2


def test_what_is_neither_backbone_nor_the_head_has_the_full_rate(model: Model) -> None:
    wider = Model(model.backbone, model.head)
    wider.auxiliary = nn.Conv2d(2, 2, 1)
    assert rates(wider, layer_decay=0.5)["auxiliary.weight"] == 1.0


def test_a_shared_parameter_is_grouped_once() -> None:
    backbone = create_backbone("coat_lite_tiny")
    head = nn.ModuleDict({"own": nn.Linear(2, 2)})
    head["tied"] = backbone.serial_blocks1[0].mlp.fc1  # type: ignore[attr-defined]
    found = rates(Model(backbone, head), layer_decay=0.5)  # type: ignore[arg-type]
    assert "head.tied.weight" not in found
    assert found["backbone.serial_blocks1.0.mlp.fc1.weight"] == pytest.approx(0.5**8)


def test_frozen_parameters_are_in_no_group(model: Model) -> None:
    backbone = create_backbone("coat_lite_tiny", frozen_stages=4)
    found = rates(Model(backbone, model.head), layer_decay=0.5)
    assert set(found) == {name for name, _ in model.named_parameters() if name.startswith("head.")}


def test_a_compiled_model_has_the_same_rates(model: Model) -> None:
    expected = rate_shares(model, 0.75, 0.5)
    compiled = torch.compile(model)
    parts = Model(torch.compile(model.backbone), model.head)  # type: ignore[arg-type]
    for wrapped in (compiled, parts):
        found = rate_shares(wrapped, 0.75, 0.5)  # type: ignore[arg-type]
        assert all("_orig_mod." in name for name in found if "backbone" in name)
        assert {name.replace("_orig_mod.", ""): share for name, share in found.items()} == expected
