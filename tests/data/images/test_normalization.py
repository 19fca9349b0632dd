import numpy as np
import pytest
import torch

from coatseg.data.images.normalization import denormalise, normalise
from coatseg.errors import ImageError
from coatseg.structures import DatasetInfo

RNG = np.random.default_rng(0)


def info_of(channels=3, mean=0.4, std=0.2):
    return DatasetInfo(
        "any", ("a",), ((0, 0, 0),), frozenset({"semantic"}), mean=(mean,) * channels, std=(std,) * channels
    )


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_normalising_is_by_the_pixel_range_of_the_type(dtype, top):
    image = (np.array([[[0.0, 0.4, 1.0]]]) * top).astype(dtype)
    tensor = normalise(image, info_of())
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 1, 1)
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-2.0, 0.0, 3.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_normalising_writes_into_a_part_of_a_larger_tensor_and_nowhere_else(channels, dtype):
    image = (RNG.random((9, 11, channels)) * 200).astype(dtype)
    larger = torch.full((channels, 12, 13), 7.0)
    normalise(image, info_of(channels), out=larger[:, :9, :11])
    assert torch.equal(larger[:, :9, :11], normalise(image, info_of(channels)))
    assert larger[:, 9:].eq(7).all()
    assert larger[:, :9, 11:].eq(7).all()


def test_normalised_bytes_are_exactly_what_float32_arithmetic_gives():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    info = DatasetInfo("any", ("a",), ((0, 0, 0),), frozenset({"semantic"}))
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (info.mean, info.std))
    exact = (image.transpose(2, 0, 1).astype(np.float32) / np.float32(255) - mean) / std
    np.testing.assert_array_equal(normalise(image, info).numpy(), exact)


def test_a_picture_comes_back_from_a_tensor():
    image = RNG.integers(0, 256, (9, 11, 3), dtype=np.uint8)
    np.testing.assert_array_equal(denormalise(normalise(image, info_of()), info_of()), image)
    np.testing.assert_array_equal(
        denormalise(normalise(image[..., :1], info_of(1)), info_of(1)), image[..., :1].repeat(3, axis=2)
    )


def test_other_units_are_shown_about_their_mean():
    kelvin = info_of(1, mean=280.0, std=10.0)
    image = np.array([[[260.0], [280.0], [300.0]]], np.float32)
    assert denormalise(normalise(image, kelvin), kelvin)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 13, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_any_number_of_channels_is_normalised_and_shown(channels, dtype):
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[np.dtype(dtype).name]
    image = (RNG.random((9, 11, channels)) * top).astype(dtype)
    tensor = normalise(image, info_of(channels))
    assert tensor.shape == (channels, 9, 11)
    torch.testing.assert_close(tensor[-1].numpy(), (image[..., -1] / np.float32(top) - 0.4) / 0.2, atol=1e-5, rtol=0)
    picture = denormalise(tensor, info_of(channels))
    shown = image[..., :3] if channels >= 3 else image[..., [0, 0, 0]]
    assert picture.dtype == np.uint8
    assert np.abs(picture - shown / top * 255).max() <= 0.51


def test_channels_that_keep_to_a_small_part_of_the_range_are_shown_about_their_mean():
    satellite = info_of(13, mean=0.04, std=0.02)
    image = np.full((1, 3, 13), 65535) * np.array([0.0, 0.04, 0.08])[None, :, None]
    picture = denormalise(normalise(image.astype(np.uint16), satellite), satellite)
    assert picture[0, :, 0].tolist() == [0, 127, 255]


def test_normalising_refuses_other_channels():
    with pytest.raises(ImageError, match=r"\(4, 5, 4\).*3"):
        normalise(np.zeros((4, 5, 4), np.uint8), info_of())
