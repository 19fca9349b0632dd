import torch

from coatseg.build import create_backbone
from coatseg.training.parameters import adamw, parameter_groups


def test_every_parameter_is_in_one_group() -> None:
    model = create_backbone("coat_lite_tiny")
    groups = parameter_groups(model, 0.05)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())


def test_norms_biases_and_class_tokens_do_not_decay() -> None:
    model = create_backbone("coat_lite_tiny")
    without = {id(parameter) for parameter in parameter_groups(model, 0.05)[1]["params"]}
    exempt = {name for name, parameter in model.named_parameters() if id(parameter) in without}
    expected = {
        name
        for name, _ in model.named_parameters()
        if name.endswith(".bias") or "norm" in name or name.startswith("cls_token")
    }
    assert exempt == expected
    assert "cls_token1" in exempt
    assert "patch_embed1.norm.weight" in exempt


def test_a_step_without_gradient_signal_shrinks_only_what_decays() -> None:
    layer = torch.nn.Linear(2, 2)
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    optimizer = adamw(layer, lr=0.1, weight_decay=0.5)
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before["weight"] * (1 - 0.1 * 0.5))
    torch.testing.assert_close(layer.bias.detach(), before["bias"])


def test_frozen_parameters_are_left_out() -> None:
    layer = torch.nn.Linear(2, 2)
    layer.weight.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(layer, 0.1)] == [0, 1]
