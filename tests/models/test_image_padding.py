import pytest
import torch

from coatseg.errors import ConfigError
from coatseg.models.image_padding import pad
from coatseg.structures import Level

LEVELS = (Level(4, 1), Level(32, 1))


def test_a_batch_is_padded_with_zeros_at_the_bottom_and_right() -> None:
    images = torch.randn(2, 3, 50, 64)
    padded = pad(images, None, 32)
    assert padded.images.shape == (2, 3, 64, 64)
    assert torch.equal(padded.images[:, :, :50], images)
    assert not padded.images[:, :, 50:].any()
    assert padded.sizes == [(50, 64)] * 2
    assert padded.own is None


def test_what_lies_beyond_an_image_becomes_zero_whatever_it_was() -> None:
    images = torch.full((2, 3, 50, 64), torch.nan)
    images[0], images[1, :, :20, :30] = 1, 1
    padded = pad(images, ((50, 64), (20, 30)), 32)
    assert padded.images.sum() == 3 * (50 * 64 + 20 * 30)
    assert padded.sizes == [(50, 64), (20, 30)]


def test_the_backbone_is_told_sizes_only_where_an_image_alone_would_be_padded_to_less() -> None:
    images = torch.zeros(2, 3, 50, 64)
    assert pad(images, ((50, 64), (20, 30)), 32).own == ((64, 64), (32, 32))
    assert pad(images, ((50, 64), (33, 60)), 32).own is None
    assert pad(images, ((50, 64), (50, 64)), 32).own is None


def test_each_image_gets_its_own_part_of_the_pyramid() -> None:
    padded = pad(torch.randn(2, 3, 50, 64), ((50, 64), (20, 30)), 32)
    pyramid = [
        torch.arange(2.0).view(2, 1, 1, 1).expand(2, 1, 64 // level.stride, 64 // level.stride) for level in LEVELS
    ]
    parts = list(padded.alone(pyramid, LEVELS))
    assert [tuple(image.shape) for image, _ in parts] == [(1, 3, 64, 64), (1, 3, 32, 32)]
    assert [[tuple(level.shape[-2:]) for level in levels] for _, levels in parts] == [
        [(16, 16), (2, 2)],
        [(8, 8), (1, 1)],
    ]
    for number, (image, levels) in enumerate(parts):
        assert torch.equal(image[0], padded.images[number, :, : image.shape[2], : image.shape[3]])
        assert all((level == number).all() for level in levels)


def test_maps_lose_the_padding_again() -> None:
    padded = pad(torch.randn(2, 3, 50, 64), ((50, 64), (20, 30)), 32)
    maps = padded.without(torch.full((2, 5, 64, 64), torch.inf))
    assert maps.shape == (2, 5, 50, 64)
    assert maps[0].isinf().all()
    assert maps[1].isinf().sum() == 5 * 20 * 30
    assert maps[1].nan_to_num(posinf=0).count_nonzero() == 0


def test_sizes_that_are_not_those_of_the_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="1 sizes were given for a batch of 2 images"):
        pad(torch.zeros(2, 3, 50, 64), [(50, 64)], 32)
