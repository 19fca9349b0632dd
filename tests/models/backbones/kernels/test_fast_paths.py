"""The functions that CoaT computes by give what its definitions give, and keep less for the backward pass."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from coatseg.models.backbones.attention import MLP, Attention, PositionEncoding, RelativePositionEncoding, drop_path
from coatseg.models.backbones.blocks import ParallelBlock, SerialBlock
from coatseg.models.backbones.coat import create_backbone
from coatseg.models.backbones.kernels import fast_paths, spatial, tokenwise
from coatseg.models.backbones.padding_mask import find_valid
from coatseg.models.backbones.tokens import Shape, Tokens
from tests.contracts.backbone import images, padded
from tests.models.backbones.test_parity import filled

ERRORS = {torch.float64: 1e-12, torch.float32: 1e-5}
SIZES = ((64, 64), (50, 33))


@contextmanager
def plainly() -> Iterator[None]:
    """Compute by the definitions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_paths, "applies", lambda *_: False)
        yield


def assert_near(found: Tensor, expected: Tensor, error: float) -> None:
    assert found.dtype == expected.dtype
    assert (found - expected).abs().max() <= error * expected.abs().max()


@pytest.fixture
def in_parts(monkeypatch):
    """Keep no hidden map, and make each in several parts."""
    cuts = []
    parts = tokenwise.parts
    monkeypatch.setattr(tokenwise, "KEPT_RATIO", 0)
    monkeypatch.setattr(tokenwise, "HIDDEN_BYTES", 2**14)
    monkeypatch.setattr(tokenwise, "parts", lambda *given: cuts.append(list(parts(*given))) or cuts[-1])
    return cuts


# The whole backbone


def model_of(name: str, dtype: torch.dtype = torch.float32, **options: object) -> nn.Module:
    """A backbone whose every part shows in its maps."""
    return filled(create_backbone(name, **options)).to(dtype).train()


def results(model: nn.Module, given: Tensor, sizes: object = None) -> list[Tensor]:
    """Give the maps, the gradient of the images and those of all parameters."""
    torch.manual_seed(3)  # the same paths are dropped each time
    given = given.clone().requires_grad_()
    maps = model(given, sizes)
    generator = torch.Generator().manual_seed(4)
    weights = [torch.randn(image.shape, generator=generator).to(image.dtype) for image in maps]
    leaves = [given, *(parameter for parameter in model.parameters() if parameter.requires_grad)]
    return [*maps, *torch.autograd.grad(maps, leaves, weights)]


def compare(model: nn.Module, given: Tensor, sizes: object = None) -> None:
    found = results(model, given, sizes)
    with plainly():
        expected = results(model, given, sizes)
    for ours, theirs in zip(found, expected, strict=True):
        assert_near(ours, theirs, ERRORS[given.dtype])


VARIATIONS = {
    "as it is": {},
    "dropping paths": {"drop_path": 0.4},
    "without cpe": {"conv_position_encoding": False},
    "without crpe": {"conv_relative_position": False},
}


@pytest.mark.parametrize("options", VARIATIONS.values(), ids=VARIATIONS)
@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_a_backbone_gives_maps_and_gradients_of_the_definitions(name, options):
    compare(model_of(name, torch.float64, **options), images(2, 32, 64).double())


@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_so_does_it_in_float32(name):
    compare(model_of(name, drop_path=0.4), images(2, 96, 96))  # large enough for products by convolutions


@pytest.mark.parametrize("options", [{}, {"co_scale": "cross_attention"}], ids=str)
def test_so_does_it_with_padding(options):
    model = model_of("coat_tiny" if options else "coat_lite_tiny", torch.float64, drop_path=0.2, **options)
    compare(model, padded([images(1, *size) for size in SIZES], 64, 64, 1.0).double(), SIZES)


@pytest.mark.parametrize("dtype", ERRORS)
def test_so_does_it_with_hidden_maps_in_parts(in_parts, dtype):
    compare(model_of("coat_lite_tiny", dtype, drop_path=0.2), images(2, 64, 64).to(dtype))
    assert all(len(cuts) > 1 for cuts in in_parts[:2])


def test_so_does_it_with_every_hidden_map_kept(monkeypatch):
    monkeypatch.setattr(tokenwise, "KEPT_RATIO", 8)
    compare(model_of("coat_lite_tiny", torch.float64, drop_path=0.2), images(2, 64, 64).double())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_without_gradients_the_maps_are_the_same(name, context):
    model, given = model_of(name), images(2, 64, 64)
    expected = model(given)
    with context():
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(model(given), expected, strict=True))


def test_frozen_parameters_get_no_gradient_and_the_others_theirs():
    model, given = model_of("coat_lite_tiny"), images(1, 64, 64)
    torch.stack([image.square().sum() for image in model(given)]).sum().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    frozen = list(expected)[::2]
    for name in frozen:
        model.get_parameter(name).requires_grad_(False)
    torch.stack([image.square().sum() for image in model(given)]).sum().backward()
    for name, parameter in model.named_parameters():
        if name in frozen:
            assert parameter.grad is None, name
        else:
            assert_near(parameter.grad, expected[name], 1e-5)


@pytest.mark.parametrize("frozen", ["norm", "qkv", "crpe", "cpe", "mlp", "factoratt_crpe"])
def test_layers_that_are_frozen_whole_leave_the_gradients_of_the_others(frozen):
    model = model_of("coat_lite_tiny", torch.float64)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(frozen not in name)
    compare(model, images(1, 64, 64).double())


def test_gradients_of_frozen_layers_are_not_computed():
    model, given = model_of("coat_lite_tiny"), images(1, 96, 96).requires_grad_()

    def products() -> int:
        maps = model(given)
        with FlopCounterMode(display=False) as counter:
            torch.autograd.grad(sum(image.square().sum() for image in maps), given)
        return counter.get_total_flops()

    trained = products()
    model.requires_grad_(False)
    assert products() < 0.75 * trained


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_model_is_copied_and_pickled(way):
    model, given = model_of("coat_lite_tiny"), images(1, 64, 64)
    expected = results(model, given)
    found = results(way(model), given)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_a_second_derivative_is_refused():
    model, given = model_of("coat_lite_tiny"), images(1, 32, 32).requires_grad_()
    gradient = torch.autograd.grad(model(given)[3].square().sum(), given, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


# Precision


@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_in_mixed_precision_maps_and_gradients_stay_close(name):
    model, given = model_of(name), images(2, 64, 64)
    expected = results(model, given)
    with torch.autocast("cpu", torch.bfloat16):
        found = results(model, given)
    with plainly(), torch.autocast("cpu", torch.bfloat16):
        plain = results(model, given)
    assert {ours.dtype for ours in found[4:]} == {torch.float32}
    for ours, theirs, exact in zip(found, plain, expected, strict=True):
        # Rounding to 8 bits, in every product of some ten blocks: what matters is that it errs no more than the
        # definitions do under autocast, whose errors are of other draws.
        error, usual = ((one.float() - exact).norm() / exact.norm() for one in (ours, theirs))
        assert error < 1.5 * usual + 0.01


def test_in_float16_maps_are_finite_and_close():
    model, given = model_of("coat_lite_tiny"), images(1, 64, 64)
    with torch.no_grad():
        expected, found = model(given), copy.deepcopy(model).half()(given.half())
    for ours, exact in zip(found, expected, strict=True):
        assert ours.dtype == torch.float16
        assert ours.isfinite().all()
        assert (ours.float() - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("channels", [64, 128])  # heads multiplied as one matrix, and each by itself
def test_in_float16_gradients_bear_many_tokens(channels):
    torch.manual_seed(0)
    shape = Shape(1, 128, 128)
    rows = torch.randn(sum(shape.parts), 3 * channels).half()
    weights = torch.randn(sum(shape.parts), channels).half()

    def gradient(dtype: torch.dtype) -> Tensor:
        given = rows.to(dtype).requires_grad_()
        out = spatial.ConvAttention.apply(given, shape, None, 8, ())
        return torch.autograd.grad(out, given, weights.to(dtype))[0].double()

    found, exact = gradient(torch.float16), gradient(torch.float64)
    for ours, theirs in zip(found.chunk(3, 1), exact.chunk(3, 1), strict=True):
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


# Each module


Compute = Callable[[Tokens, Tensor | None], Tokens]


def computations(channels: int) -> dict[str, tuple[nn.Module, Compute]]:
    """What is computed leanly: with which parameters, and how from tokens and factors of their rows."""
    attention, norm, mlp = Attention(channels), nn.LayerNorm(channels), MLP(channels, 8 * channels)
    crpe, cpe = RelativePositionEncoding(channels), PositionEncoding(channels)
    return {
        "attention": (nn.ModuleList([attention.qkv, norm]), lambda given, kept: attention(norm, given, None)),
        "attention with positions": (
            nn.ModuleList([attention.qkv, norm, crpe]),
            lambda given, kept: attention(norm, given, crpe),
        ),
        "mixing": (attention.proj, lambda given, kept: attention.mix(given)),
        "adding what is mixed": (attention.proj, lambda given, kept: attention.add_mixed(given, given, kept)),
        "position encoding": (cpe, lambda given, kept: cpe(given)),
        "mlp": (nn.ModuleList([norm, mlp]), lambda given, kept: mlp(norm, given, kept)),
    }


@pytest.mark.parametrize("dtype", ERRORS)
@pytest.mark.parametrize("with_padding", [False, True])
@pytest.mark.parametrize("dropping", [0.0, 0.5])
@pytest.mark.parametrize("channels", [24, 72])  # heads of 3 channels, multiplied as one matrix, and of 9
@pytest.mark.parametrize("name", computations(8))
def test_a_module_gives_what_its_definition_gives(name, channels, dropping, with_padding, dtype):
    torch.manual_seed(0)
    parameters, compute = computations(channels)[name]
    for parameter in parameters.to(dtype).parameters():
        nn.init.normal_(parameter, std=0.3)
    shape = Shape(3, 6, 7)
    image = torch.zeros(3, 1, 6, 7)
    valid = find_valid(image, [(6, 7), (2, 5), (1, 1)]) if with_padding else None
    tokens = Tokens(2 * torch.randn(sum(shape.parts), channels, dtype=dtype), shape, valid)
    kept = drop_path(tokens, dropping)
    leaves = [tokens.rows.requires_grad_(), *parameters.parameters()]
    weights = torch.randn(sum(shape.parts), channels, dtype=dtype)

    def outcome() -> list[Tensor]:
        found = compute(tokens, kept)
        assert (found.shape, found.valid) == (shape, valid)
        # What the padding of the outcome holds means nothing.
        seen = Tokens.join(found.within(), found.cls).rows
        return [seen, *torch.autograd.grad(seen, leaves, weights)]

    found = outcome()
    with plainly():
        expected = outcome()
    for ours, theirs in zip(found, expected, strict=True):
        assert_near(ours, theirs, ERRORS[dtype])


# Each function


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64).requires_grad_()


def functions() -> dict[str, Callable[[], tuple[Callable[..., Tensor], list[Tensor]]]]:
    """Each function of its differentiable inputs, and such inputs."""
    shape = Shape(2, 3, 2)
    count = sum(shape.parts)
    valid = find_valid(torch.zeros(2, 1, 3, 2), [(3, 2), (1, 2)])
    kept = torch.tensor([[0.0], [2.0]], dtype=torch.float64).repeat(count // 2, 1)
    dtype = torch.float64

    def added(residual: Tensor, rows: Tensor, *layer: Tensor) -> Tensor:
        return tokenwise.AddedLinear.apply(residual, rows, kept, dtype, *layer)

    def mlp(kept: Tensor | None) -> Callable[..., Tensor]:
        return lambda rows, *layers: tokenwise.AddedMLP.apply(rows, kept, dtype, 1e-6, *layers)

    def attention(heads: int, groups: tuple[int, ...], valid: object) -> Callable[..., Tensor]:
        return lambda rows, *windows: spatial.ConvAttention.apply(rows, shape, valid, heads, groups, *windows)

    def within(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def of(*given: Tensor) -> Tensor:
            found = Tokens(function(*given), shape, valid)
            return Tokens.join(found.within(), found.cls).rows

        return of

    layers = [(3,), (3,), (15, 3), (15,), (3, 15), (3,)]
    windows = [(2, 1, 3, 3), (2,), (2, 1, 5, 5), (2,)]
    cases = {
        "linear": (
            lambda rows, *layer: tokenwise.AddedLinear.apply(None, rows, None, dtype, *layer),
            [(4, 3), (2, 3), (2,)],
        ),
        "linear, added": (added, [(count, 2), (count, 3), (2, 3), (2,)]),
        "linear, normed": (
            lambda rows, *given: tokenwise.NormedLinear.apply(rows, dtype, 1e-6, *given),
            [(4, 3), (3,), (3,), (2, 3), (2,)],
        ),
        "mlp": (mlp(None), [(count, 3), *layers]),
        "mlp, scaled": (mlp(kept), [(count, 3), *layers]),
        "mlp, kept": (mlp(kept), [(count, 3), (3,), (3,), (6, 3), (6,), (3, 6), (3,)]),
        "convolution": (
            lambda rows, *layer: spatial.AddedConvolution.apply(rows, shape, None, *layer),
            [(count, 3), (3, 1, 3, 3), (3,)],
        ),
        "convolution, padded": (
            within(lambda rows, *layer: spatial.AddedConvolution.apply(rows, shape, valid, *layer)),
            [(count, 3), (3, 1, 3, 3), (3,)],
        ),
        "attention": (attention(2, (), None), [(count, 12)]),
        "attention, windows": (attention(2, (2, 2), None), [(count, 12), *windows]),
        "attention, padded": (within(attention(2, (2, 2), valid)), [(count, 12), *windows]),
        "attention, wide heads": (attention(1, (), None), [(count, 27)]),
    }
    return {name: (function, shapes) for name, (function, shapes) in cases.items()}


@pytest.mark.parametrize("name", functions())
def test_the_gradients_of_a_function_are_those_of_finite_differences(name):
    torch.manual_seed(0)
    function, shapes = functions()[name]
    assert gradcheck(function, [leaf(*shape) for shape in shapes])


@pytest.mark.parametrize("name", functions())
def test_a_function_refuses_a_second_derivative(name):
    function, shapes = functions()[name]
    leaves = [leaf(*shape) for shape in shapes]
    gradients = torch.autograd.grad(function(*leaves).square().sum(), leaves, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.stack([gradient.square().sum() for gradient in gradients]).sum().backward()


@pytest.mark.parametrize("name", functions())
def test_a_function_takes_gradients_of_any_layout(name):
    torch.manual_seed(0)
    function, shapes = functions()[name]
    leaves = [leaf(*shape) for shape in shapes]
    found = function(*leaves)
    gradient = torch.randn(found.shape[::-1], dtype=torch.float64).T
    ours = torch.autograd.grad(found, leaves, gradient, retain_graph=True)
    theirs = torch.autograd.grad(found, leaves, gradient.contiguous())
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


# Where it is computed so, and what it keeps


def test_compiled_counted_and_traced_graphs_are_of_the_definitions():
    rows = torch.zeros(2, 3)
    assert fast_paths.applies(rows)
    assert not fast_paths.applies(rows.to("meta"))
    chosen = []
    torch.jit.trace(lambda rows: chosen.append(fast_paths.applies(rows)) or rows + 1, rows, check_trace=False)
    assert not any(chosen)


def kept_bytes(model: nn.Module, given: Tensor) -> int:
    """Sum what a forward pass keeps for the backward pass, parameters aside, whatever shares memory once.

    What checkpoints keep are the inputs of blocks, which saved tensors do not tell of.
    """
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage  # held, so that its address is not taken again
        return tensor

    def keep_inputs(_: nn.Module, inputs: tuple[object, ...]) -> None:
        for tokens in [inputs[0]] if isinstance(inputs[0], Tokens) else inputs[0]:
            keep(tokens.rows)

    handles = [
        block.register_forward_pre_hook(keep_inputs)
        for block in model.modules()
        if isinstance(block, SerialBlock | ParallelBlock) and model.checkpointing
    ]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = model(given)
    for handle in handles:
        handle.remove()
    assert maps[0].requires_grad
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize(
    ("name", "dtype", "share"),
    [
        ("coat_lite_tiny", torch.float32, 0.5),
        ("coat_lite_tiny", torch.bfloat16, 0.5),
        ("coat_tiny", torch.float32, 0.55),  # more than half: its hidden maps, of 4 times the channels, are kept
    ],
)
def test_the_backward_pass_is_left_a_half_and_with_checkpointing_a_quarter(name, dtype, share):
    model = create_backbone(name).train()

    def added_by_an_image() -> int:  # to a batch: without weights in bfloat16, kept once
        return kept_bytes(model, images(3, 96, 96)) - kept_bytes(model, images(2, 96, 96))

    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        leanly = added_by_an_image()
        with plainly():
            plain = added_by_an_image()
        model.checkpointing = True
        checkpointed = added_by_an_image()
    assert leanly <= share * plain
    assert checkpointed <= 0.25 * plain


def test_layers_that_are_more_than_their_parameters_are_called():
    class Doubled(torch.nn.Linear):
        def forward(self, rows):
            return 2 * super().forward(rows)

    model, given = create_backbone("coat_lite_tiny").eval(), images(1, 64, 64)
    calls = []
    with torch.no_grad():
        before = model(given)
        handle = model.serial_blocks1[0].mlp.fc1.register_forward_hook(lambda *_: calls.append(1))
        with_hook = model(given)
        handle.remove()
        first = model.serial_blocks1[0].mlp.fc2
        model.serial_blocks1[0].mlp.fc2 = Doubled(first.in_features, first.out_features)
        model.serial_blocks1[0].mlp.fc2.load_state_dict(first.state_dict())
        doubled = model(given)
    assert calls == [1]
    torch.testing.assert_close(with_hook[0], before[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(doubled[0], before[0], atol=1e-3)


def test_pruned_layers_train():
    model, given = create_backbone("coat_lite_tiny"), images(1, 64, 64)
    prune.l1_unstructured(model.serial_blocks1[0].mlp.fc1, "weight", 0.5)
    for _ in range(2):
        sum(image.square().mean() for image in model(given)).backward()
    assert model.serial_blocks1[0].mlp.fc1.weight_orig.grad is not None


def test_maps_may_be_changed_in_place():
    model, given = create_backbone("coat_lite_tiny"), images(1, 64, 64)
    maps = model(given)
    assert all((torch.relu_(image) >= 0).all() for image in maps)


def test_a_backward_pass_under_autocast_is_in_the_precision_of_the_forward_pass():
    model, given = create_backbone("coat_lite_tiny"), images(1, 64, 64)
    gradients = []
    for enabled in (False, True):
        loss = sum(image.square().mean() for image in model(given))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            gradients.append(torch.autograd.grad(loss, list(model.serial_blocks1.parameters())))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
