from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from coatseg.errors import ConfigError
from coatseg.models.backbones.attention import (
    HEADS,
    MLP,
    Attention,
    PositionEncoding,
    RelativePositionEncoding,
    attend,
    drop_path,
    join_heads,
    resize,
    split_heads,
)
from coatseg.models.backbones.blocks import ParallelBlock
from coatseg.models.backbones.classifier import create_classifier
from coatseg.models.backbones.coat import STRIDES, CoaT, create_backbone
from coatseg.models.backbones.kernels import fast_paths
from coatseg.models.backbones.padding_mask import find_valid
from coatseg.models.backbones.tokens import Tokens, as_map, pixels
from coatseg.models.backbones.variants import VARIANTS
from coatseg.structures import parameter_count
from tests.contracts.backbone import BackboneContract, images, padded

COUNTS = {  # with head, backbone only
    "coat_tiny": (5_498_844, 5_344_624),
    "coat_mini": (10_337_308, 10_118_704),
    "coat_small": (21_694_212, 21_370_984),
    "coat_lite_tiny": (5_722_856, 5_400_320),
    "coat_lite_mini": (11_012_584, 10_497_536),
    "coat_lite_small": (19_839_528, 19_324_480),
    "coat_lite_medium": (44_572_456, 44_057_024),
}


class TestCoaTLite(BackboneContract):
    def make(self, in_channels=3):
        return create_backbone("coat_lite_tiny", in_channels=in_channels)


class TestCoaT(BackboneContract):
    def make(self, in_channels=3):
        return create_backbone("coat_tiny", in_channels=in_channels)


class TestCoaTWithCrossAttention(BackboneContract):
    def make(self, in_channels=3):
        return create_backbone("coat_tiny", in_channels=in_channels, co_scale="cross_attention")


@pytest.mark.sweep
@pytest.mark.parametrize("variant", VARIANTS)
class TestEveryVariant(BackboneContract):
    @pytest.fixture(autouse=True)
    def _name(self, variant):
        self.variant = variant

    @pytest.fixture
    def backbone(self, variant):
        torch.manual_seed(0)
        return create_backbone(variant).eval()

    def make(self, in_channels=3):
        return create_backbone(self.variant, in_channels=in_channels)


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_as_many_as_in_the_paper(name):
    with torch.device("meta"):
        assert (parameter_count(create_classifier(name)), parameter_count(create_backbone(name))) == COUNTS[name]


def test_the_variant_for_384_pixels_differs_in_its_input_size_only():
    with torch.device("meta"):
        assert parameter_count(create_classifier("coat_lite_medium_384")) == COUNTS["coat_lite_medium"][0]
    assert [name for name, variant in VARIANTS.items() if variant.input_size == 384] == ["coat_lite_medium_384"]


def test_an_unknown_variant_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean coat_lite_tiny"):
        create_backbone("coat_lite_tini")


# Attention


def tokens(channels: int, height: int, width: int, seed: int = 0, scale: float = 1.0) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, channels, height, width, generator=generator).contiguous(memory_format=torch.channels_last)
    return Tokens.join(scale * image, scale * torch.randn(2, 1, channels, generator=generator))


def sequence(tokens: Tokens) -> torch.Tensor:
    return torch.cat([tokens.cls, pixels(tokens.image)], dim=1)


def attend_leanly(
    queries: Tokens, keys: Tokens, values: Tokens, crpe: RelativePositionEncoding | None = None
) -> Tokens:
    packed = queries._replace(rows=torch.cat([part.rows for part in (queries, keys, values)], dim=1))
    return fast_paths.conv_attention(packed, HEADS, [] if crpe is None else list(crpe.windows))


@pytest.fixture(params=["plain", "lean"])
def conv_attention(request):
    """Conv-attention as it is defined, and as it is computed."""
    return {"plain": attend, "lean": attend_leanly}[request.param]


@pytest.fixture(params=["plain", "lean"])
def way(request, monkeypatch):
    """Have modules compute by the definitions, and by fast_paths.py."""
    monkeypatch.setattr(fast_paths, "applies", lambda *_: request.param == "lean")


def textbook(queries: Tokens, keys: Tokens, values: Tokens) -> torch.Tensor:
    """Q / sqrt(d) (softmax(K)^T V) per head on (B, 1 + N, C) sequences that begin with the class token."""
    q, k, v = (
        sequence(part).reshape(2, -1, 8, part.cls.shape[2] // 8).permute(0, 2, 1, 3) for part in (queries, keys, values)
    )
    out = q / q.shape[3] ** 0.5 @ (torch.softmax(k, dim=2).transpose(2, 3) @ v)
    return out.permute(0, 2, 1, 3).reshape(2, -1, queries.cls.shape[2])


@pytest.mark.parametrize("channels", [64, 152])  # heads of 8 and of 19 channels
def test_factorized_attention_is_the_textbook_formula(conv_attention, channels):
    queries, keys, values = (tokens(channels, 5, 7, seed, scale=3) for seed in range(3))
    found = sequence(conv_attention(queries, keys, values, None))
    torch.testing.assert_close(found, textbook(queries, keys, values))


@pytest.mark.parametrize("channels", [16, 152])
def test_factorized_attention_has_the_gradients_of_the_textbook_formula(conv_attention, channels):
    parts = [tokens(channels, 3, 4, seed) for seed in range(3)]
    leaves = [part.rows.requires_grad_() for part in parts]
    weights = torch.randn(2, 13, channels, generator=torch.Generator().manual_seed(9))
    ours = torch.autograd.grad((sequence(conv_attention(*parts, None)) * weights).sum(), leaves)
    theirs = torch.autograd.grad((textbook(*parts) * weights).sum(), leaves)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_attention_by_hand_with_one_channel_a_head(conv_attention):
    # Two pixels and a class token. The class token's key is log 2 above the others, so the weights are 1/4, 1/4, 1/2.
    def constant(image: list[float], cls: float) -> Tokens:
        row = torch.tensor(image).view(1, 1, 1, 2).expand(1, 8, 1, 2)
        return Tokens.join(row, torch.full((1, 1, 8), cls))

    queries, keys, values = constant([2.0, -1.0], 1.0), constant([0.0, 0.0], 0.6931472), constant([4.0, 8.0], 6.0)
    out = conv_attention(queries, keys, values, None)
    torch.testing.assert_close(out.image[0, 0, 0], torch.tensor([12.0, -6.0]))  # the weighted value is 6
    torch.testing.assert_close(out.cls[0, 0], torch.full((8,), 6.0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attention_over_200_000_tokens_stays_exact_in_16_bit(conv_attention, dtype):
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (
        Tokens.join(part, torch.ones(1, 1, 8, dtype=dtype))
        for part in torch.randn(3, 1, 8, 400, 500, generator=generator).to(dtype)
    )
    # Unnormalised, these sum up to 8e6, and float16 ends at 65,504.
    values = Tokens.join(values.image + 40, values.cls)
    found = conv_attention(queries, keys, values, None)
    exact = attend(*(part._replace(rows=part.rows.double()) for part in (queries, keys, values)), None)
    assert found.rows.dtype == dtype
    torch.testing.assert_close(found.image.double(), exact.image, rtol=2 * torch.finfo(dtype).eps, atol=1e-3)


def test_autocast_does_not_reach_the_softmax(conv_attention):
    queries, keys, values = (tokens(64, 40, 40, seed, scale=4) for seed in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        found = conv_attention(queries, keys, values, None)
    exact = conv_attention(queries, keys, values, None)
    # One bfloat16 product of 8 terms remains; a softmax in bfloat16 errs by tens of percents here.
    assert (found.image - exact.image).abs().max() < 0.02 * exact.image.abs().max()


def test_large_keys_do_not_overflow(conv_attention):
    queries, keys, values = tokens(16, 3, 3), tokens(16, 3, 3, 1, scale=1000), tokens(16, 3, 3, 2)
    leaves = [part.rows.requires_grad_() for part in (queries, keys, values)]
    found = conv_attention(queries, keys, values, None)
    assert found.rows.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(found.rows.sum(), leaves))


def test_relative_positions_multiply_queries_with_windows_of_values():
    crpe = RelativePositionEncoding(16)
    for conv in crpe.conv_list:
        nn.init.ones_(conv.weight)
        nn.init.zeros_(conv.bias)
    values = torch.ones(1, 16, 9, 9)
    queries = 2 * torch.ones(1, 16, 9, 9)
    encoded = crpe(queries, values)
    assert encoded[0, :, 4, 4].tolist() == 4 * [2 * 9.0] + 6 * [2 * 25.0] + 6 * [2 * 49.0]
    assert encoded[0, 0, 0, 0] == 2 * 4  # the corner sees 4 of the 9 pixels of a 3x3 window


def test_relative_positions_leave_the_class_token_alone(conv_attention):
    queries, keys, values = (tokens(64, 5, 7, seed) for seed in range(3))
    crpe = RelativePositionEncoding(64)
    with_positions, without = (conv_attention(queries, keys, values, encoding) for encoding in (crpe, None))
    assert torch.equal(with_positions.cls, without.cls)
    torch.testing.assert_close(
        with_positions.image - without.image, crpe(queries.image, values.image), atol=1e-5, rtol=0
    )


def test_position_encoding_adds_a_convolution_to_the_image_tokens_only(way):
    cpe, before = PositionEncoding(16), tokens(16, 5, 7)
    after = cpe(before)
    torch.testing.assert_close(after.image - before.image, cpe.proj(before.image), atol=1e-5, rtol=0)
    assert torch.equal(after.cls, before.cls)


@pytest.mark.parametrize("size", [4, 40])  # on either side of where a convolution is faster
@pytest.mark.parametrize("threads", [1, 2])
def test_a_linear_layer_is_applied_to_every_token(size, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        layer, given = nn.Linear(16, 24), tokens(16, size, size)
        found = fast_paths.linear(layer, given)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(sequence(found), layer(sequence(given)))
    assert found.image.is_contiguous(memory_format=torch.channels_last)


def test_heads_split_and_join():
    sequence = torch.arange(2 * 3 * 16.0).view(2, 3, 16)
    assert torch.equal(join_heads(split_heads(sequence)), sequence)
    assert split_heads(sequence)[0, 1, 0].tolist() == [2, 3]


# Padding


def test_what_the_padding_holds_stays_out_of_attention(conv_attention):
    alone = [tokens(64, 3, 5, seed) for seed in range(3)]
    garbage = [tokens(64, 4, 9, seed, scale=1e4) for seed in range(3, 6)]  # in the softmax it would leave nothing else
    valid = find_valid(garbage[0].image, [(3, 5), (3, 5)])
    for part, own in zip(garbage, alone, strict=True):
        part.image[:, :, :3, :5] = own.image
    queries, keys, values = (Tokens.join(part.image, own.cls, valid) for part, own in zip(garbage, alone, strict=True))
    crpe = RelativePositionEncoding(64)
    found, expected = conv_attention(queries, keys, values, crpe), conv_attention(*alone, crpe)
    torch.testing.assert_close(found.image[:, :, :3, :5], expected.image)
    torch.testing.assert_close(found.cls, expected.cls)


def test_the_valid_part_is_floored_at_every_scale():
    valid = find_valid(torch.zeros(2, 3, 64, 96), [(50, 33), (64, 95)])
    for factor, sizes in (
        (4, ((12, 8), (16, 23))),
        (2, ((6, 4), (8, 11))),
        (2, ((3, 2), (4, 5))),
        (2, ((1, 1), (2, 2))),
    ):
        valid = valid.coarser(factor)
        assert valid.sizes == sizes
        assert [tuple(mask[0].nonzero().amax(0) + 1) for mask in valid.mask] == list(sizes)
        assert [int(mask.sum()) for mask in valid.mask] == [height * width for height, width in sizes]


@pytest.mark.parametrize("co_scale", ["interpolation", "cross_attention", "none"])
def test_the_gradient_of_a_padded_batch_is_the_sum_of_those_of_its_images(co_scale):
    model = create_backbone("coat_tiny", co_scale=co_scale).train()
    alone, sizes = [images(1, 64, 96), images(1, 50, 33)], ((64, 96), (50, 33))
    weights = [torch.randn(152, 64 // stride, 96 // stride) for stride in STRIDES]

    def loss(maps: list[torch.Tensor]) -> torch.Tensor:
        # Of a padded map the part beyond the image is weighted too, and must not count.
        pairs = zip(maps, weights, strict=True)
        return sum((image * one[:, : image.shape[2], : image.shape[3]]).sum() for image, one in pairs)

    parameters = list(model.parameters())
    together = torch.autograd.grad(loss(model(padded(alone, 64, 96, 1.0), sizes)), parameters)
    apart = torch.autograd.grad(sum(loss(model(image)) for image in alone), parameters)
    for one, other in zip(together, apart, strict=True):
        assert (one - other).abs().max() < 1e-4 * other.abs().max()


def test_maps_of_a_padded_batch_stay_channels_last_and_back():
    model = create_backbone("coat_tiny")
    layouts = []
    maps = model(images(2, 64, 96), [(64, 96), (50, 33)])
    for image in maps:
        assert image.is_contiguous(memory_format=torch.channels_last)
        image.register_hook(lambda gradient: layouts.append(gradient.is_contiguous(memory_format=torch.channels_last)))
    torch.autograd.backward(maps, [torch.randn(image.shape) for image in maps])
    assert layouts == [True] * 4


@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_a_classifier_does_not_see_the_padding(name):
    model = create_classifier(name, num_classes=7).eval()
    alone, sizes = [images(1, 64, 96), images(1, 50, 33)], ((64, 96), (50, 33))
    with torch.no_grad():
        found = model(padded(alone, 70, 96, 1.0), sizes)
        expected = torch.cat([model(image) for image in alone])
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


# Co-scale


def test_interpolation_adds_the_resized_attention_of_the_other_scales(way):
    block = ParallelBlock(16, 2, drop_path=0.0, co_scale="interpolation")
    scales = [tokens(16, 8, 8, 0), tokens(16, 4, 4, 1), tokens(16, 2, 2, 2)]
    nn.init.zeros_(block.mlp2.fc2.weight)
    nn.init.zeros_(block.mlp2.fc2.bias)
    for scale, constant in ((2, 1.0), (3, 10.0), (4, 100.0)):
        attention = block.get_submodule(f"factoratt_crpe{scale}")
        nn.init.zeros_(attention.proj.weight)
        nn.init.constant_(attention.proj.bias, constant)
    for before, after in zip(scales, block(scales, [None] * 3, [None] * 3), strict=True):
        torch.testing.assert_close(sequence(after), sequence(before) + 111)


def test_cross_attention_sums_over_keys_and_values_resized_to_the_queries(way):
    block = ParallelBlock(16, 2, drop_path=0.0, co_scale="cross_attention").eval()
    attentions = [block.get_submodule(f"factoratt_crpe{scale}") for scale in (2, 3, 4)]
    crpes = [RelativePositionEncoding(16) for _ in range(3)]
    scales = [tokens(16, 8, 8, 0), tokens(16, 4, 4, 1), tokens(16, 2, 2, 2)]
    projected = []
    for scale, attention in enumerate(attentions):
        norm = block.get_submodule(f"norm1{scale + 2}")
        nn.init.normal_(norm.weight)
        projected.append(attention.project(norm, scales[scale]))
    mixed = block._attention(scales, crpes)
    for own in range(3):
        queries = projected[own].queries
        summed = 0
        for _, *keys_and_values in projected:
            keys, values = (Tokens.join(resize(part, queries), part.cls) for part in keys_and_values)
            relative = Tokens.join(crpes[own](queries.image, values.image), torch.zeros(2, 1, 16))
            summed = summed + textbook(queries, keys, values) + sequence(relative)
        torch.testing.assert_close(sequence(mixed[own]), attentions[own].proj(summed), rtol=1e-4, atol=1e-5)


def exchange(co_scale: str) -> list[torch.Tensor]:
    """How much the map of each scale changes with the attention of scale 4."""
    torch.manual_seed(0)
    model = create_backbone("coat_tiny", co_scale=co_scale).eval()
    with torch.no_grad():
        before = model(images(1, 64, 64))
        for block in model.parallel_blocks:
            block.factoratt_crpe4.qkv.weight *= 20
            block.factoratt_crpe4.proj.bias += 1
        after = model(images(1, 64, 64))
    return [(one - other).abs().max() for one, other in zip(before, after, strict=True)]


@pytest.mark.parametrize("co_scale", ["interpolation", "cross_attention"])
def test_scales_learn_of_each_other(co_scale):
    first, *others = exchange(co_scale)
    assert first == 0
    assert all(change > 1e-4 for change in others)


def test_without_co_scale_they_do_not():
    first, second, third, fourth = exchange("none")
    assert first == second == third == 0
    assert fourth > 1e-4


def test_the_co_scale_designs_share_their_parameters():
    with torch.device("meta"):
        names = [
            list(create_backbone("coat_tiny", co_scale=design).state_dict()) for design in ("interpolation", "none")
        ]
        names.append(list(create_backbone("coat_tiny", co_scale="cross_attention").state_dict()))
    assert names[0] == names[1] == names[2]


def test_coat_lite_has_no_co_scale_design_to_choose():
    with pytest.raises(ConfigError, match="CoaT-Lite has no exchange between scales"):
        create_backbone("coat_lite_tiny", co_scale="none")


def test_an_unknown_co_scale_design_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean interpolation"):
        create_backbone("coat_tiny", co_scale="interpolate")


# The network


@pytest.mark.parametrize(("option", "part"), [("conv_position_encoding", "cpe"), ("conv_relative_position", "crpe")])
def test_an_encoding_can_be_left_out(option, part):
    torch.manual_seed(0)
    with_it = create_backbone("coat_lite_tiny").eval()
    without = create_backbone("coat_lite_tiny", **{option: False}).eval()
    left_out = set(with_it.state_dict()) - set(without.state_dict())
    assert left_out == {name for name in with_it.state_dict() if name.startswith(part)}
    without.load_state_dict({name: value for name, value in with_it.state_dict().items() if name not in left_out})
    with torch.no_grad():
        assert not torch.allclose(with_it(images(1, 64, 64))[0], without(images(1, 64, 64))[0], atol=1e-4)


def test_names_are_those_of_the_authors_and_shared_modules_have_one():
    with torch.device("meta"):
        names = list(create_classifier("coat_tiny").state_dict())
    assert len(names) == 328
    shared = [name for name in names if re.search(r"cpe|crpe\d?\.conv|mlp[34]", name)]
    assert len(shared) == 4 * 2 + 4 * 6
    assert all(re.fullmatch(r"(cpe[1-4]\.proj|crpe[1-4]\.conv_list\.[012])\.(weight|bias)", name) for name in shared)
    assert {"parallel_blocks.5.mlp2.fc1.weight", "parallel_blocks.0.factoratt_crpe4.qkv.bias"} <= set(names)


def test_depths_count_blocks_from_the_image_up():
    with torch.device("meta"):
        depths = create_classifier("coat_tiny").depths()
    expected = {
        "patch_embed1.proj.weight": 0,
        "cls_token1": 0,
        "cpe1.proj.weight": 1,
        "serial_blocks1.0.norm1.weight": 1,
        "serial_blocks1.1.mlp.fc1.weight": 2,
        "patch_embed2.norm.bias": 3,
        "cls_token2": 3,
        "crpe2.conv_list.0.weight": 3,
        "serial_blocks2.0.mlp.fc2.bias": 3,
        "serial_blocks4.1.mlp.fc2.bias": 8,
        "cpe4.proj.bias": 7,
        "parallel_blocks.0.norm12.weight": 9,
        "parallel_blocks.5.mlp2.fc1.weight": 14,
        "norm4.weight": 15,
        "aggregate.bias": 15,
        "head.weight": 15,
    }
    assert {name: depths[name] for name in expected} == expected


def test_weights_start_as_the_authors_start_them():
    model = create_classifier("coat_lite_mini")
    for name, part in model.named_modules():
        if isinstance(part, nn.Linear):
            assert part.weight.std().item() == pytest.approx(0.02, rel=0.05), name
            assert not part.bias.any(), name
        if isinstance(part, nn.LayerNorm):
            assert (part.weight == 1).all(), name
            assert not part.bias.any(), name
    assert model.cls_token4.std().item() == pytest.approx(0.02, rel=0.2)


def test_maps_stay_channels_last_from_end_to_end_and_back():
    model = create_backbone("coat_tiny")
    layouts = []
    maps = model(images(2, 96, 96))
    assert all(image.is_contiguous(memory_format=torch.channels_last) for image in maps)
    for image in maps:
        image.register_hook(lambda gradient: layouts.append(gradient.is_contiguous(memory_format=torch.channels_last)))
    torch.autograd.backward(maps, [torch.randn(image.shape) for image in maps])  # these come in the other layout
    assert layouts == [True] * 4


def test_dropped_paths_drop_whole_examples_and_keep_the_mean():
    torch.manual_seed(0)
    given = Tokens.join(torch.ones(4000, 2, 2, 2), torch.ones(4000, 1, 2))
    image, cls = given._replace(rows=drop_path(given, 0.25)).split()
    kept = cls[:, 0, 0]
    assert sorted(set(kept.tolist())) == pytest.approx([0, 1 / 0.75])
    assert torch.equal(image, kept.view(-1, 1, 1, 1).expand(4000, 1, 2, 2))
    assert kept.mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_paths_are_dropped_in_training_only(name):
    torch.manual_seed(0)
    dropping, plain = create_backbone(name, drop_path=0.5), create_backbone(name)
    plain.load_state_dict(dropping.state_dict())
    with torch.no_grad():
        assert torch.equal(dropping.eval()(images(1, 64, 64))[3], plain.eval()(images(1, 64, 64))[3])
        assert not torch.allclose(dropping.train()(images(1, 64, 64))[3], plain.train()(images(1, 64, 64))[3])


@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_a_classifier_gives_logits(name):
    model = create_classifier(name, num_classes=7).eval()
    with torch.no_grad():
        assert model(images(2, 64, 96)).shape == (2, 7)


@pytest.mark.parametrize("name", ["coat_lite_tiny", pytest.param("coat_tiny", marks=pytest.mark.sweep)])
def test_an_exported_backbone_takes_any_size(name):
    model = create_backbone(name).eval()
    sizes = {2: torch.export.Dim("height", min=64, max=512), 3: torch.export.Dim("width", min=64, max=512)}
    program = torch.export.export(model, (images(2, 96, 160),), dynamic_shapes=(sizes,))
    given = images(2, 100, 70)
    with torch.no_grad():
        for ours, exported in zip(model(given), program.module()(given), strict=True):
            torch.testing.assert_close(ours, exported, rtol=1e-4, atol=1e-4)


def test_levels_say_strides_and_channels():
    with torch.device("meta"):
        levels = CoaT(VARIANTS["coat_mini"]).levels
    assert [(level.stride, level.channels) for level in levels] == list(zip(STRIDES, (152, 216, 216, 216), strict=True))


def test_attention_within_a_scale_projects_in_and_out(way):
    attention, norm, given = Attention(16), nn.LayerNorm(16), tokens(16, 4, 4, scale=3)
    nn.init.normal_(norm.weight)
    queries, keys, values = (
        Tokens.join(as_map(part[:, 1:], given.image), part[:, :1])
        for part in attention.qkv(norm(sequence(given))).chunk(3, dim=2)
    )
    expected = attention.proj(textbook(queries, keys, values))
    attended = attention(norm, given, None)
    torch.testing.assert_close(sequence(attention.mix(attended)), expected, rtol=1e-4, atol=1e-6)
    twos = given._replace(rows=torch.full_like(given.rows, 2.0))
    factors = torch.full((len(given.rows), 1), 0.5)
    added = attention.add_mixed(twos, attended, factors)
    torch.testing.assert_close(sequence(added), 2 + expected / 2, rtol=1e-4, atol=1e-6)


def test_an_mlp_adds_what_it_makes_of_normalised_tokens(way):
    mlp, norm, given = MLP(16, 32), nn.LayerNorm(16), tokens(16, 4, 4, scale=3)
    nn.init.normal_(norm.weight)
    branch = mlp.fc2(nn.functional.gelu(mlp.fc1(norm(sequence(given)))))
    torch.testing.assert_close(sequence(mlp(norm, given)), sequence(given) + branch)
    factors = torch.full((len(given.rows), 1), 0.5)
    torch.testing.assert_close(sequence(mlp(norm, given, factors)), sequence(given) + branch / 2)


@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_a_batch_may_have_no_images(name):
    backbone = create_backbone(name)
    maps = backbone(torch.zeros(0, 3, 64, 96))
    assert [tuple(image.shape) for image in maps] == [
        (0, level.channels, 64 // level.stride, 96 // level.stride) for level in backbone.levels
    ]
    sum(image.sum() for image in maps).backward()
    assert not any(parameter.grad.any() for parameter in backbone.parameters())
