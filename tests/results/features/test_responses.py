"""The response of the factorized attention to a point is the weight that each value gets there."""

import pytest
import torch

from coatseg.models.backbones.attention import HEADS, factorized_attention
from coatseg.models.backbones.coat import create_backbone
from coatseg.models.backbones.tokens import Tokens
from coatseg.results.features.responses import Responses, as_point, response


def test_two_places_by_hand() -> None:
    """Two places and a class token, eight heads of two channels; only the first head's query is not zero."""
    queries, keys, cls_key = torch.zeros(16, 1, 2), torch.zeros(16, 1, 2), torch.zeros(16)
    queries[0, 0, 1], queries[1, 0, 1] = 1.0, -2.0
    keys[0, 0] = torch.tensor([2.0, 1.0]).log()  # softmax 2/4, 1/4, and 1/4 for the class token
    found = response(queries, keys, cls_key, (0, 1))
    expected = torch.tensor([[2 / 4 - 2 / 3, 1 / 4 - 2 / 3]]) / 2**0.5 / 8
    torch.testing.assert_close(found, expected)
    assert torch.equal(response(queries, keys, cls_key, (0, 0)), torch.zeros(1, 2))


def test_it_is_what_attention_gives_for_a_value_at_one_place_alone() -> None:
    parts = [torch.randn(1, 32, 3, 4).contiguous(memory_format=torch.channels_last) for _ in range(2)]
    cls = torch.randn(2, 1, 1, 32)
    queries, keys = (Tokens.join(part, token) for part, token in zip(parts, cls, strict=True))
    found = response(parts[0][0], parts[1][0], cls[1, 0, 0], (1, 2))
    for place in range(12):
        values = torch.zeros(1, 32, 3, 4)
        values.view(1, 32, 12)[..., place] = 1
        values = Tokens.join(values.contiguous(memory_format=torch.channels_last), torch.zeros(1, 1, 32))
        given = factorized_attention(queries, keys, values).image[0, :, 1, 2]
        torch.testing.assert_close(found.flatten()[place], given.mean())
    assert HEADS == 8


@pytest.mark.parametrize("name", ["coat_lite_tiny", "coat_tiny"])
def test_it_is_that_of_the_last_block_at_each_stride_whatever_the_batch(name: str) -> None:
    backbone = create_backbone(name).eval()
    responses, image = Responses(backbone), torch.randn(1, 3, 64, 40)
    padded = torch.zeros(2, 3, 64, 96)
    padded[1, :, :, :40] = image[0]
    with torch.inference_mode():
        with responses.watching():
            backbone(image)
        alone = {stride: responses.at(stride, (0.5, 0.5), 0, (64, 40)) for stride in (4, 8, 16, 32)}
        with responses.watching():
            backbone(padded, [(64, 96), (64, 40)])
        batched = {stride: responses.at(stride, (0.5, 0.5), 1, (64, 40)) for stride in (4, 8, 16, 32)}
    for stride, found in alone.items():
        assert found.shape == (64 // stride, 40 // stride)
        assert found.std() > 0 or stride == 32
        torch.testing.assert_close(found, batched[stride], atol=1e-6, rtol=1e-3)


def test_a_pixel_asks_the_step_that_it_lies_in() -> None:
    """70 pixels make two steps of 32 and leave six over, which count to the last."""
    backbone = create_backbone("coat_lite_tiny").eval()
    responses = Responses(backbone)
    with torch.inference_mode(), responses.watching():
        backbone(torch.randn(1, 3, 70, 70))
    with torch.inference_mode():
        first, second, third = (responses.at(32, as_point((40, y), (70, 70)), 0, (70, 70)) for y in (31, 32, 69))
    assert torch.equal(second, third)
    assert not torch.equal(first, second)


def test_the_cross_attention_design_has_it_too() -> None:
    backbone = create_backbone("coat_tiny", co_scale="cross_attention").eval()
    responses = Responses(backbone)
    with torch.inference_mode(), responses.watching():
        backbone(torch.randn(1, 3, 64, 64))
    with torch.inference_mode():
        assert responses.at(16, (0, 0), 0, (64, 64)).shape == (4, 4)


@pytest.mark.parametrize(
    ("query", "point"),
    [
        ((0.25, 1.0), (0.25, 1.0)),
        ((0, 0), (0.5 / 200, 0.5 / 100)),
        ((150, 20), (150.5 / 200, 20.5 / 100)),
        ((900, 900), (199.5 / 200, 99.5 / 100)),
        ((1.0, 0), (1.0, 0)),
    ],
)
def test_a_query_in_pixels_or_shares(query: tuple[float, float], point: tuple[float, float]) -> None:
    assert as_point(query, (100, 200)) == pytest.approx(point)
