import itertools

import pytest
import torch

from coatseg.backbones.coat import VARIANTS
from coatseg.build import TABLES, create_backbone
from coatseg.heads.semantic import fpn, upernet
from coatseg.model import Model


def model(channels: int = 3) -> Model:
    backbone = create_backbone("coat_lite_tiny", in_channels=channels)
    return Model(backbone, fpn(backbone.levels, 4, pyramid_width=16, width=32)).eval()


def test_logits_have_the_size_of_the_images_and_are_float32() -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = model()(torch.randn(1, 3, 50, 33)).logits
    assert logits.shape == (1, 4, 50, 33)
    assert logits.dtype == torch.float32


def test_padding_is_the_mean_colour_at_the_bottom_and_right() -> None:
    network = model()
    image = torch.randn(1, 3, 64, 64)
    image[..., 40:, :] = 0
    image[..., 50:] = 0
    with torch.no_grad():
        torch.testing.assert_close(network(image[..., :40, :50]).logits, network(image).logits[..., :40, :50])


def test_images_smaller_than_any_stride_are_padded_too() -> None:
    with torch.no_grad():
        assert model(4)(torch.randn(2, 4, 5, 7)).logits.shape == (2, 4, 5, 7)


def test_an_auxiliary_head_is_for_training_only() -> None:
    backbone = create_backbone("coat_lite_tiny")
    network = Model(backbone, fpn(backbone.levels, 4, width=32), upernet(backbone.levels, 4, width=16))
    outputs = network.train()(torch.randn(2, 3, 40, 70))
    assert outputs.auxiliary is not None
    assert outputs.auxiliary.shape == outputs.logits.shape == (2, 4, 40, 70)
    assert network.eval()(torch.randn(1, 3, 64, 64)).auxiliary is None


SIZES = ((64, 64), (100, 70), (96, 160))
HEADS: dict[str, dict[str, object]] = {
    "fpn": {"pyramid_width": 16, "width": 32},
    "unet": {"widths": (16, 16, 16, 8, 8)},
    "upernet": {"width": 16},
}


def train_at_every_size(backbone_name: str, head: str, **options: object) -> None:
    backbone = create_backbone(backbone_name, **options)  # type: ignore[arg-type]
    network = Model(backbone, TABLES["head"][head](backbone.levels, 4, **HEADS[head])).train()
    for height, width in SIZES:
        for batch in (1, 2):
            network.zero_grad()
            logits = network(torch.randn(batch, 3, height, width)).logits
            assert logits.shape == (batch, 4, height, width)
            logits.square().mean().backward()
            bare = [name for name, parameter in network.named_parameters() if parameter.grad is None]
            assert not bare


@pytest.mark.parametrize("name", VARIANTS)
def test_every_backbone_trains_under_a_head(name: str) -> None:
    train_at_every_size(name, "fpn")


def test_a_timm_backbone_trains_under_a_head() -> None:
    train_at_every_size("timm", "fpn", model="resnet18")


@pytest.mark.parametrize("head", HEADS)
def test_every_head_trains_on_a_backbone(head: str) -> None:
    train_at_every_size("coat_lite_tiny", head)


@pytest.mark.sweep
@pytest.mark.parametrize(("name", "head"), list(itertools.product(VARIANTS, HEADS)))
def test_every_backbone_trains_under_every_head(name: str, head: str) -> None:
    train_at_every_size(name, head)


@pytest.mark.sweep
@pytest.mark.parametrize("co_scale", ["cross_attention", "none"])
@pytest.mark.parametrize("encodings", list(itertools.product([False, True], repeat=2)))
def test_every_ablation_trains(co_scale: str, encodings: tuple[bool, bool]) -> None:
    cpe, crpe = encodings
    options = {"co_scale": co_scale, "conv_position_encoding": cpe, "conv_relative_position": crpe}
    train_at_every_size("coat_tiny", "fpn", **options)
