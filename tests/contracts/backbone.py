"""What every backbone promises to the heads: inherit, and say how to make one."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coatseg.errors import ConfigError

STRIDES = (4, 8, 16, 32)


def images(batch: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(batch + height + width))


def padded(alone: list[Tensor], height: int, width: int, scale: float) -> Tensor:
    """One batch of single images, with noise of that scale at the bottom and right, which may be inf or nan."""
    batch = scale * images(len(alone), height, width, alone[0].shape[1])
    for row, image in zip(batch, alone, strict=True):
        row[:, : image.shape[2], : image.shape[3]] = image[0]
    return batch


class BackboneContract(ABC):
    """Inherited by the tests of every backbone; `make` builds a small one, with any number of image channels."""

    @abstractmethod
    def make(self, in_channels: int = 3) -> nn.Module: ...

    @pytest.fixture(scope="class")
    def backbone(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make().eval()

    def test_levels_go_from_stride_4_to_32(self, backbone):
        assert tuple(level.stride for level in backbone.levels) == STRIDES

    @pytest.mark.parametrize("batch", [1, 2])
    @pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (100, 70), (96, 160)])
    def test_each_level_gives_a_map_of_its_channels_and_of_the_size_floored(self, backbone, batch, height, width):
        with torch.no_grad():
            maps = backbone(images(batch, height, width))
        assert [tuple(image.shape) for image in maps] == [
            (batch, level.channels, height // level.stride, width // level.stride) for level in backbone.levels
        ]
        assert all(image.isfinite().all() for image in maps)

    def test_examples_of_a_batch_do_not_see_each_other(self, backbone):
        both = images(2, 64, 64)
        with torch.no_grad():
            together, alone = backbone(both), backbone(both[1:])
        for ours, others in zip(together, alone, strict=True):
            assert (ours[1:] - others).abs().max() < 1e-4 * others.abs().max()

    def test_evaluation_gives_the_same_numbers_twice(self, backbone):
        with torch.no_grad():
            first, second = backbone(images(1, 64, 64)), backbone(images(1, 64, 64))
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))

    def test_every_parameter_gets_a_gradient(self, backbone):
        backbone = copy.deepcopy(backbone).train()
        maps = backbone(images(2, 64, 96))
        # Random weights: the mean of a normalised map has no gradient.
        sum((image * torch.randn_like(image)).sum() for image in maps).backward()
        without = [
            name
            for name, parameter in backbone.named_parameters()
            if parameter.grad is None or not parameter.grad.any() or not parameter.grad.isfinite().all()
        ]
        assert without == []

    def test_depths_name_every_parameter_once_from_0_up_without_gaps(self, backbone):
        depths = backbone.depths()
        assert list(depths) == [name for name, _ in backbone.named_parameters()]
        assert sorted(set(depths.values())) == list(range(max(depths.values()) + 1))

    def test_the_first_convolution_is_nearest_to_the_image(self, backbone):
        first = next(name for name, parameter in backbone.named_parameters() if parameter.ndim == 4)
        assert backbone.depths()[first] == 0

    def test_a_state_dict_names_every_parameter_once_and_moves_to_a_new_backbone(self, backbone):
        state = backbone.state_dict()
        assert len({value.data_ptr() for value in state.values()}) == len(state)
        other = self.make().eval()
        other.load_state_dict(state)
        with torch.no_grad():
            expected, found = backbone(images(1, 64, 64)), other(images(1, 64, 64))
        assert all(torch.equal(one, another) for one, another in zip(expected, found, strict=True))

    @pytest.mark.parametrize("channels", [1, 4])
    def test_images_may_have_other_channels(self, channels):
        backbone = self.make(in_channels=channels).eval()
        with torch.no_grad():
            maps = backbone(images(1, 64, 64, channels))
        assert [image.shape[1] for image in maps] == [level.channels for level in backbone.levels]

    @pytest.mark.parametrize("sizes", [((64, 96), (50, 33), (32, 95)), ((47, 64), (64, 47), (63, 63))])
    @pytest.mark.parametrize("padding", [1.0, torch.inf, torch.nan])
    def test_features_do_not_depend_on_the_padding(self, backbone, sizes, padding):
        alone = [images(1, height, width) for height, width in sizes]
        with torch.no_grad():
            together = backbone(padded(alone, 100, 130, padding), sizes)
            apart = [backbone(image) for image in alone]
        for stride, level, expected in zip(STRIDES, together, zip(*apart, strict=True), strict=True):
            assert level.shape[2:] == (100 // stride, 130 // stride)
            for ours, theirs, (height, width) in zip(level, expected, sizes, strict=True):
                found = ours[:, : height // stride, : width // stride]
                assert (found - theirs[0]).abs().max() < 1e-5 * theirs.abs().max()
                assert ours.count_nonzero() == found.count_nonzero()

    def test_no_gradient_reaches_the_padding(self, backbone):
        sizes = ((64, 96), (50, 33))
        given = padded([images(1, *size) for size in sizes], 70, 96, 1.0).requires_grad_()
        maps = backbone(given, sizes)
        sum((image * torch.randn_like(image)).sum() for image in maps).backward()
        for gradient, (height, width) in zip(given.grad, sizes, strict=True):
            assert gradient[:, :height, :width].any()
            assert gradient.count_nonzero() == gradient[:, :height, :width].count_nonzero()

    def test_sizes_without_padding_change_nothing(self, backbone):
        given = images(2, 64, 96)
        with torch.no_grad():
            with_sizes, without = backbone(given, [(64, 96), (64, 96)]), backbone(given)
        assert all(torch.equal(one, other) for one, other in zip(with_sizes, without, strict=True))

    def test_features_do_not_depend_on_the_padding_in_mixed_precision(self, backbone):
        alone, sizes = [images(1, 64, 96), images(1, 50, 33)], ((64, 96), (50, 33))
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            together = backbone(padded(alone, 64, 96, torch.nan), sizes)
            apart = [backbone(image) for image in alone]
        for level, expected in zip(together, zip(*apart, strict=True), strict=True):
            for ours, theirs in zip(level, expected, strict=True):
                found = ours[:, : theirs.shape[2], : theirs.shape[3]]
                assert (found - theirs[0]).abs().max() < 0.03 * theirs.abs().max()
                assert ours.count_nonzero() == found.count_nonzero()

    @pytest.mark.parametrize(
        ("sizes", "message"),
        [
            ([(64, 64)], r"1 sizes were given for a batch of 2 images"),
            ([(64, 64), (64, 97)], r"64x97 pixels does not fit into a batch of 64x96 pixels(.|\n)*pad all"),
            ([(64, 64), (31, 96)], r"31x96 pixels is too small(.|\n)*32x32"),
        ],
    )
    def test_sizes_that_are_not_those_of_the_images_are_refused(self, backbone, sizes, message):
        with pytest.raises(ConfigError, match=message):
            backbone(images(2, 64, 96), sizes)

    @pytest.mark.parametrize(("height", "width"), [(31, 64), (64, 31)])
    def test_an_image_too_small_is_refused_with_the_least_size(self, backbone, height, width):
        with pytest.raises(ConfigError, match=rf"{height}x{width}(.|\n)*32x32"):
            backbone(images(1, height, width))

    def test_images_of_other_channels_are_refused_with_their_shape(self, backbone):
        with pytest.raises(ConfigError, match=r"\(B, 3, H, W\).*\(1, 5, 64, 64\)"):
            backbone(images(1, 64, 64, channels=5))

    @pytest.mark.parametrize("sizes", [torch.tensor([[50, 40], [64, 96]]), np.array([[50, 40], [64, 96]])], ids=type)
    def test_sizes_may_be_a_tensor_or_an_array(self, backbone, sizes):
        given = images(2, 64, 96)
        with torch.no_grad():
            found, expected = backbone(given, sizes), backbone(given, [(50, 40), (64, 96)])
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))

    @pytest.mark.parametrize("sizes", [(64, 96), [(64, 96, 3), (64, 96, 3)], [(64.5, 96), (64, 96)], ["a", "b"]])
    def test_sizes_that_are_none_are_refused(self, backbone, sizes):
        with pytest.raises(ConfigError, match="whole pixels for every image"):
            backbone(images(2, 64, 96), sizes)
