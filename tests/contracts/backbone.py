"""What every backbone promises to the heads: inherit, and say how to make one."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod

import pytest
import torch
from torch import Tensor, nn

from coatseg.errors import ConfigError

STRIDES = (4, 8, 16, 32)


def images(batch: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(batch + height + width))


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

    @pytest.mark.parametrize(("height", "width"), [(31, 64), (64, 31)])
    def test_an_image_too_small_is_refused_with_the_least_size(self, backbone, height, width):
        with pytest.raises(ConfigError, match=rf"{height}x{width}(.|\n)*32x32"):
            backbone(images(1, height, width))

    def test_images_of_other_channels_are_refused_with_their_shape(self, backbone):
        with pytest.raises(ConfigError, match=r"\(B, 3, H, W\).*\(1, 5, 64, 64\)"):
            backbone(images(1, 64, 64, channels=5))
