"""Depthwise convolutions and their gradients give what F.conv2d and autograd give."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from coatseg.models.backbones.kernels.depthwise import convolve, depthwise, gradient_by_image, gradient_by_weight

WINDOWS = [1, 3, 5, 7, 9]
SIZES = [(1, 1), (2, 3), (1, 8), (5, 4), (13, 17)]  # most are smaller than the larger windows
# Products and sums are in float32 or better. In bfloat16 what comes of them is rounded once, to half an eps.
ERRORS = {torch.float32: 2e-6, torch.float64: 1e-14, torch.bfloat16: 0.51 * torch.finfo(torch.bfloat16).eps}


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def draw(channels: int, size: tuple[int, int], dtype: torch.dtype, seed: int) -> torch.Tensor:
    """A channels-last map that is a slice of the channels of a wider one."""
    generator = torch.Generator().manual_seed(seed)
    wide = torch.randn(2, *size, channels + 8, generator=generator, dtype=torch.float64).to(dtype)
    return wide.permute(0, 3, 1, 2)[:, 3 : 3 + channels]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ERRORS)
@pytest.mark.usefixtures("threads")
def test_convolution_and_gradients(window, size, dtype):
    image, gradient = draw(19, size, dtype, 0), draw(19, size, dtype, 1)
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(19, 1, window, window, generator=generator, dtype=torch.float64).to(dtype)
    leaves = [image.double().requires_grad_(), weight.double().requires_grad_()]
    exact = F.conv2d(*leaves, padding=window // 2, groups=19)
    by_image, by_weight = torch.autograd.grad(exact, leaves, gradient.double())
    found = (convolve(image, weight), gradient_by_image(gradient, weight), gradient_by_weight(gradient, image, window))
    assert found[2].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for ours, theirs in zip(found, (exact, by_image, by_weight), strict=True):
        assert ours.shape == theirs.shape
        assert (ours.double() - theirs).abs().max() <= ERRORS[dtype] * theirs.abs().max()


@pytest.mark.parametrize("window", WINDOWS)
def test_the_layer_is_the_convolution_with_its_bias(window):
    layer, image = depthwise(16, window), draw(16, (5, 7), torch.float32, 0)
    torch.testing.assert_close(layer(image), convolve(image, layer.weight, layer.bias))
    assert layer(image).shape == image.shape
