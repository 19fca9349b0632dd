import pytest
import torch
from torch import Tensor
from transformers.models.deformable_detr.modeling_deformable_detr import MultiScaleDeformableAttention

from coatseg.models.heads.query.sampling import sample

SHAPES = [(5, 7), (3, 4), (1, 2)]
BATCH, QUERIES, HEADS, POINTS, WIDTH = 2, 9, 2, 3, 4


def inputs() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = sum(height * width for height, width in SHAPES)
    value = torch.randn(BATCH, pixels, HEADS, WIDTH, generator=generator)
    places = torch.rand(BATCH, QUERIES, HEADS, len(SHAPES), POINTS, 2, generator=generator) * 1.8 - 0.4
    places[0, 0] = torch.tensor([-50.0, 70.0])  # far outside
    weights = torch.rand(BATCH, QUERIES, HEADS, len(SHAPES), POINTS, generator=generator)
    return [tensor.requires_grad_() for tensor in (value, places, weights)]


def test_sums_and_gradients_are_the_librarys() -> None:
    value, places, weights = inputs()
    theirs = MultiScaleDeformableAttention()(value, None, SHAPES, None, places, weights, 64)
    ours = sample(value, SHAPES, places, weights)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    above = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1))
    both = [torch.autograd.grad(sums, (value, places, weights), above) for sums in (ours, theirs)]
    torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-4)


def test_a_point_on_a_pixel_is_that_pixel_and_half_way_out_half_of_it() -> None:
    value = torch.arange(6.0).view(1, 6, 1, 1)  # one level of 2x3
    places = torch.tensor([[2.5 / 3, 1.5 / 2], [0.0, 0.25], [1.0, 1.0], [0.5, 0.5], [-0.4, 0.5]]).view(1, 5, 1, 1, 1, 2)
    sums = sample(value, [(2, 3)], places, torch.ones(1, 5, 1, 1, 1))
    assert sums.flatten().tolist() == pytest.approx([5.0, 0.0, 5 / 4, 2.5, 0.0], abs=1e-5)


def test_values_of_16_bit_are_summed_in_float32_and_come_back_as_they_were() -> None:
    value, places, weights = (tensor.detach() for tensor in inputs())
    exact = sample(value.bfloat16().float(), SHAPES, places, weights)
    short = sample(value.bfloat16(), SHAPES, places, weights)
    assert short.dtype == torch.bfloat16
    assert torch.equal(short, exact.bfloat16())


def test_places_that_are_no_numbers_stop_nothing_and_show() -> None:
    value, places, weights = inputs()
    broken = places.detach().fill_(torch.nan).requires_grad_()
    sums = sample(value, SHAPES, broken, weights)
    assert sums.isnan().all()
    sums.sum().backward()
