import itertools
from collections.abc import Callable

import pytest
import torch

from coatseg.config.combinations import gives
from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.backbones.variants import VARIANTS, Variant
from coatseg.models.heads.semantic.deeplab import deeplabv3plus
from coatseg.models.heads.semantic.fpn import fpn
from coatseg.models.heads.semantic.upernet import upernet
from coatseg.models.model import Model
from coatseg.models.unused_parameters import freeze_unused, unused_parameters
from coatseg.registry.names import create_backbone, table


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


# Images of several sizes


HEADS: dict[str, dict[str, object]] = {
    **{name: {"width": 16} for name in table("head") if "logits" in gives(name)},
    **{name: {"widths": (16, 16, 16, 8, 8)} for name in ("unet", "unetplusplus", "manet")},
    "mask2former": {"width": 32, "queries": 5, "encoder_layers": 1, "decoder_layers": 3},
    "maskformer": {"width": 32, "queries": 5, "decoder_layers": 1, "dropout": 0.0},
    "fpn": {"pyramid_width": 16, "width": 32},
    "dpt": {"widths": (16, 16, 16, 16), "width": 16},
}
SEVERAL = ((64, 96), (50, 33), (31, 70), (5, 7))


def together_and_alone(network: Model, sizes: tuple[tuple[int, int], ...]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    images = [torch.randn(1, 3, *size) for size in sizes]
    batch = torch.full((len(sizes), 3, 70, 96), torch.nan)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[2], : image.shape[3]] = image[0]
    with torch.no_grad():
        return network(batch, sizes).logits, [network(image).logits[0] for image in images]


@pytest.mark.parametrize("head", ["fpn", "upernet", "unet", "pspnet", "segformer", "deeplabv3plus"])
@pytest.mark.parametrize("backbone_name", ["coat_lite_tiny", "coat_tiny"])
def test_logits_are_those_of_each_image_alone_and_zero_beyond(backbone_name: str, head: str) -> None:
    backbone = create_backbone(backbone_name)
    network = Model(backbone, table("head")[head](backbone.levels, 4, **HEADS[head])).eval()
    logits, alone = together_and_alone(network, SEVERAL)
    assert logits.shape == (len(SEVERAL), 4, 70, 96)
    for found, expected, (height, width) in zip(logits, alone, SEVERAL, strict=True):
        own = found[:, :height, :width]
        assert (own - expected).abs().max() < 1e-4 * expected.abs().max()
        assert found.count_nonzero() == own.count_nonzero()


def test_sizes_that_pad_to_the_same_multiple_go_through_the_head_at_once() -> None:
    network, batches = model(), []
    network.head.register_forward_pre_hook(lambda head, given: batches.append(len(given[0])))
    sizes = ((70, 96), (65, 90), (66, 70))
    logits, alone = together_and_alone(network, sizes)
    assert batches == [3, 1, 1, 1]
    for found, expected, (height, width) in zip(logits, alone, sizes, strict=True):
        torch.testing.assert_close(found[:, :height, :width], expected, rtol=1e-4, atol=1e-5)
        assert found.count_nonzero() == found[:, :height, :width].count_nonzero()


def test_sizes_without_padding_change_no_logits() -> None:
    network, images = model(), torch.randn(2, 3, 50, 33)
    with torch.no_grad():
        assert torch.equal(network(images, [(50, 33)] * 2).logits, network(images).logits)


def test_in_training_heads_run_once_and_no_gradient_reaches_the_padding() -> None:
    backbone = create_backbone("coat_lite_tiny")
    network = Model(backbone, fpn(backbone.levels, 4, width=32), upernet(backbone.levels, 4, width=16)).train()
    batches: list[int] = []
    network.head.register_forward_pre_hook(lambda head, given: batches.append(len(given[0])))
    images = torch.randn(2, 3, 70, 96, requires_grad=True)
    logits, auxiliary = network(images, ((64, 96), (50, 33)))
    assert batches == [2]
    for maps in (logits, auxiliary):
        assert not maps[0, :, 64:].any()
        assert not maps[1, :, 50:].any()
        assert not maps[1, :, :, 33:].any()
        assert maps[1, :, 49, 32].all()
    (logits.square().sum() + auxiliary.square().sum()).backward()
    assert images.grad is not None
    assert images.grad[1, :, :50, :33].any()
    assert images.grad[1].count_nonzero() == images.grad[1, :, :50, :33].count_nonzero()


def test_other_sizes_compile_nothing_anew() -> None:
    backbone = CoaT(Variant((16, 24, 32, 40), (2, 2, 2, 2), (1, 1, 1, 1)))
    network, graphs = Model(backbone, fpn(backbone.levels, 4, pyramid_width=16, width=32)).eval(), []

    def count(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    compiled, images = torch.compile(network, backend=count), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images).logits, network(images).logits)
        for sizes in (((64, 64), (50, 33)), ((40, 64), (64, 64)), ((20, 30), (10, 9))):
            torch.testing.assert_close(compiled(images, sizes).logits, network(images, sizes).logits)
    assert len(graphs) == 1


@pytest.mark.parametrize(
    ("sizes", "message"),
    [([(50, 33)], "1 sizes were given for a batch of 2 images"), ([(50, 33), (51, 33)], "51x33 pixels does not fit")],
)
def test_sizes_that_are_not_those_of_the_images_are_refused(sizes: list[tuple[int, int]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model()(torch.randn(2, 3, 50, 33), sizes)


# Parameters without use


def without_the_coarsest_level(norm: str = "group", auxiliary: bool = False) -> Model:
    backbone = create_backbone("coat_lite_tiny")
    head = deeplabv3plus(backbone.levels, 4, width=16, norm=norm)
    return Model(backbone, head, fpn(backbone.levels, 4, width=32) if auxiliary else None)


def of_stage_4(network: Model) -> list[str]:
    parts = ("patch_embed4", "cls_token4", "cpe4", "crpe4", "serial_blocks4")
    return [name for name, _ in network.named_parameters() if name.startswith(tuple(f"backbone.{p}" for p in parts))]


def test_a_head_that_leaves_the_coarsest_level_out_leaves_stage_4_unused() -> None:
    network = without_the_coarsest_level()
    assert unused_parameters(network, 3) == of_stage_4(network) != []
    assert unused_parameters(model(), 3) == []


@pytest.mark.parametrize("training", [False, True])
def test_an_auxiliary_head_is_used_and_uses_what_it_reads(training: bool) -> None:
    assert unused_parameters(without_the_coarsest_level(auxiliary=True).train(training), 3) == []


def test_looking_for_unused_parameters_leaves_no_trace() -> None:
    network = without_the_coarsest_level(norm="batch").train()
    network.head.decoder.eval()
    modes = [part.training for part in network.modules()]
    state = {name: value.clone() for name, value in network.state_dict().items()}
    drawn = torch.get_rng_state()
    with torch.no_grad():
        assert unused_parameters(network, 3) != []
    assert [part.training for part in network.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_unused_parameters_are_frozen_and_named() -> None:
    network = without_the_coarsest_level()
    network.head.classify.weight.requires_grad_(False)
    freeze_unused(network, 3)
    assert list(network.unused) == of_stage_4(network)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen == {*of_stage_4(network), "head.classify.weight"}


@pytest.mark.parametrize(("side", "found"), [(224, True), (300, False)])
def test_a_backbone_of_one_size_is_tried_with_the_usual_ones(
    monkeypatch: pytest.MonkeyPatch, side: int, found: bool
) -> None:
    network = without_the_coarsest_level()
    forward = network.backbone.forward

    def fixed_size(images: torch.Tensor, sizes: None) -> list[torch.Tensor]:
        if images.shape[-1] != side:
            raise ConfigError(f"It takes images of {side} pixels.")
        return forward(images)

    monkeypatch.setattr(network.backbone, "forward", fixed_size)
    assert unused_parameters(network, 3) == (of_stage_4(network) if found else [])


SIZES = ((64, 64), (100, 70), (96, 160))


def train_at_every_size(backbone_name: str, head: str, **options: object) -> None:
    backbone = create_backbone(backbone_name, **options)  # type: ignore[arg-type]
    network = Model(backbone, table("head")[head](backbone.levels, 4, **HEADS[head])).train()
    unused = unused_parameters(network, 3)
    for height, width in SIZES:
        for batch in (1, 2):
            network.zero_grad()
            logits = network(torch.randn(batch, 3, height, width)).logits
            assert logits.shape == (batch, 4, height, width)
            logits.square().mean().backward()
            assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == unused


@pytest.mark.parametrize("name", VARIANTS)
def test_every_backbone_trains_under_a_head(name: str) -> None:
    train_at_every_size(name, "fpn")


def test_a_timm_backbone_trains_under_a_head() -> None:
    train_at_every_size("timm", "fpn", model="resnet18")


@pytest.mark.sweep
@pytest.mark.parametrize(("name", "head"), list(itertools.product(("coat_lite_tiny", "coat_tiny"), HEADS)))
def test_both_designs_train_under_every_head_at_every_size(name: str, head: str) -> None:
    train_at_every_size(name, head)  # every backbone under every head, at one size: tests/commands/test_configs.py


@pytest.mark.sweep
@pytest.mark.parametrize("co_scale", ["cross_attention", "none"])
@pytest.mark.parametrize("encodings", list(itertools.product([False, True], repeat=2)))
def test_every_ablation_trains(co_scale: str, encodings: tuple[bool, bool]) -> None:
    cpe, crpe = encodings
    options = {"co_scale": co_scale, "conv_position_encoding": cpe, "conv_relative_position": crpe}
    train_at_every_size("coat_tiny", "fpn", **options)
