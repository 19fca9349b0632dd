import numpy as np
import pytest
import torch

from coatseg.data.images.resizing import resize_image, resize_labels, size_within


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((480, 640), (800, 1067)),  # 1066.7
        ((640, 480), (1067, 800)),
        ((427, 640), (800, 1199)),  # 1199.1
        ((640, 1024), (800, 1280)),
        ((300, 900), (444, 1333)),  # the longer side decides
        ((1600, 1600), (800, 800)),
        ((800, 1333), (800, 1333)),
        ((1, 2000), (1, 1333)),  # never nothing
    ],
)
def test_the_shorter_side_decides_unless_the_longer_would_be_too_long(size, resized):
    assert size_within(size, 800, 1333) == resized


def test_sizes_are_those_of_mmdetection():
    random = np.random.default_rng(0)
    for height, width in random.integers(3, 700, (200, 2)).tolist():
        scale = min(1333 / max(height, width), 800 / min(height, width))
        theirs = tuple(int(side * scale + 0.5) for side in (height, width))
        assert size_within((height, width), 800, 1333) == theirs


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_growing_images_interpolate_as_torch_and_shrinking_ones_average(dtype, channels):
    image = (np.random.default_rng(0).random((12, 16, channels)) * 200).astype(dtype)
    grown = torch.nn.functional.interpolate(
        torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None], (20, 30), mode="bilinear"
    )
    tolerance = 1e-3 if dtype == np.float32 else 1.0
    np.testing.assert_allclose(resize_image(image, (20, 30)), grown[0].permute(1, 2, 0).numpy(), atol=tolerance)
    halves = image.astype(np.float64).reshape(6, 2, 8, 2, channels).mean((1, 3))
    np.testing.assert_allclose(resize_image(image, (6, 8)), halves, atol=tolerance)
    assert resize_image(image, (6, 8)).dtype == dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_labels_and_layers_take_the_nearest_pixel(dtype):
    labels = np.arange(24, dtype=dtype).reshape(4, 6)
    np.testing.assert_array_equal(resize_labels(labels, (8, 12)), labels.repeat(2, 0).repeat(2, 1))
    layers = np.stack([labels + number for number in range(7)], axis=-1)
    np.testing.assert_array_equal(resize_labels(layers, (8, 12)), layers.repeat(2, 0).repeat(2, 1))
