"""Feature maps as pictures."""

import numpy as np

from coatseg.visualize.feature_maps import heat, marked, principal_components


def test_the_first_component_is_red() -> None:
    """Two channels vary, the first three times as much: its values run from dark to full red, the other's are green."""
    features = np.zeros((5, 101, 101))
    features[3] = 3 * np.linspace(0, 1, 101)[:, None]
    features[1] = np.linspace(0, 1, 101)[None]
    picture = principal_components(features)
    assert picture.shape == (101, 101, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:, 7, 0], picture[:, 90, 0])
    assert (picture[0, 0, 0], picture[50, 0, 0], picture[100, 0, 0]) == (0, 128, 255)
    assert (picture[0, 0, 1], picture[0, 50, 1], picture[0, 100, 1]) == (0, 128, 255)
    assert (picture[..., 2] == 128).all()  # nothing else varies


def test_the_sign_of_a_component_does_not_hang_on_chance() -> None:
    features = np.random.default_rng(0).normal(size=(6, 8, 9))
    shifted = features + 5.0
    np.testing.assert_array_equal(principal_components(features), principal_components(shifted))


def test_maps_that_have_few_channels_places_or_no_contrast() -> None:
    assert (principal_components(np.zeros((4, 3, 3))) == 128).all()
    assert (principal_components(np.ones((4, 1, 1))) == 128).all()
    assert (principal_components(np.random.default_rng(0).normal(size=(1, 4, 4)))[..., 1:] == 128).all()


def test_heat_is_red_above_the_mean_and_blue_below() -> None:
    image = np.full((20, 40, 3), 120, np.uint8)
    warm = heat(image, np.array([[1.0, 3.0]]))
    assert warm[10, 0, 2] > warm[10, 0, 0]
    assert warm[10, 39, 0] > warm[10, 39, 2]
    part = heat(image, np.array([[1.0, 3.0]]), covers=(1.0, 0.5))
    assert part[10, 0, 2] > part[10, 0, 0]
    assert (part[:, 19:] == part[:, 19:20]).all()
    flat = heat(image, np.full((2, 2), -4.0))
    assert (flat[..., 0] == flat[..., 2]).all()


def test_a_mark_is_drawn_at_the_point_and_not_on_the_image_itself() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    found = np.argwhere(marked(image, 60, 30).any(2))
    assert abs(found.mean(0) - (30, 60)).max() < 1
    assert not image.any()
