"""Extractors of the feature maps to keep: the backbone's levels, or the input of a head's classifier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import LEAST_SIZE, STRIDES, CoaT
from coatseg.models.detector import Detector
from coatseg.models.heads.base import ObjectHead
from coatseg.models.model import Model
from coatseg.structures import Backbone, Size

FeatureMaps = dict[int, Tensor]
"""The maps (C, h, w) of one image, by their strides."""


class Extractor(Protocol):
    """What makes the maps: `strides` from fine to coarse; images have at least `least_size` pixels a side.

    `levels` is the index of each stride's map among all maps of the network, from 0, those not kept included.
    """

    strides: tuple[int, ...]
    levels: Mapping[int, int]
    least_size: int

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[FeatureMaps]:
        """Return the maps of each image of a padded batch (B, C, H, W), the same as if the image were alone."""
        ...


class BackboneMaps:
    """The levels of a backbone: maps (channels, height // stride, width // stride).

    `strides` are those of the levels to return; None for all.

    Raises:
        ConfigError: the backbone has no level of such a stride.
    """

    least_size = LEAST_SIZE

    def __init__(self, backbone: Backbone, strides: Sequence[int] | None = None) -> None:
        there = [level.stride for level in backbone.levels]
        self.strides = chosen(strides, there, "The backbone")
        self.levels = numbered(there)
        if isinstance(backbone, CoaT):  # which then skips the levels that are not kept
            backbone.choose_levels([STRIDES.index(stride) for stride in self.strides])
        self.backbone = backbone

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[FeatureMaps]:
        """Return the maps of each image; the backbone is given the images' sizes."""
        pyramid = self.backbone(images, sizes)
        levels = [level.stride for level in self.backbone.levels]
        wanted = [(stride, level) for stride, level in zip(levels, pyramid, strict=True) if stride in self.strides]
        return [
            {stride: level[number, :, : height // stride, : width // stride] for stride, level in wanted}
            for number, (height, width) in enumerate(sizes)
        ]


class ClassifierMaps:
    """The input of a dense head's classifier: one map (channels, ceil(height / stride), ceil(width / stride)).

    The head runs as in prediction, on images padded to its divisor; positions that lie in the padding alone are cut
    off.

    Raises:
        ConfigError: the head has no part called `classify`, or its map has another stride than the one asked for.
    """

    least_size = 1

    def __init__(self, model: Model, strides: Sequence[int] | None = None) -> None:
        classify = getattr(model.head, "classify", None)
        if not isinstance(classify, nn.Module):
            raise ConfigError(
                f"The head {type(model.head).__name__} has no part called classify, so its last map is not known.",
                "Leave maps=head out, or call the head's last layer classify.",
            )
        self.model, self.classify = model, classify
        side = max(64, 2 * model.head.divisor)
        channels = getattr(model.backbone, "in_channels", 3)
        parameter = next(model.parameters())
        with torch.inference_mode():
            seen = self._seen(parameter.new_zeros(1, channels, side, side), [(side, side)])
        there = [side // seen[0].shape[-2]]
        self.strides = chosen(strides, there, "The head")
        self.levels = numbered(there)

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[FeatureMaps]:
        """Return the map of each image; the model is given the images' sizes."""
        (stride,) = self.strides
        return [
            {stride: seen[:, : -(-height // stride), : -(-width // stride)]}
            for seen, (height, width) in zip(self._seen(images, sizes), sizes, strict=True)
        ]

    def _seen(self, images: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
        """Return the classifier's input for each image; given sizes, the model runs its head once an image."""
        with watched(self.classify) as calls:
            self.model(images, sizes)
        return [image for (batch,) in calls for image in batch]


class PyramidMaps:
    """The maps that an ObjectHead's predictions are made of, such as those of its feature pyramid, one for each stride.

    Their sizes are those of the image padded to the head's divisor, cut to what covers the image. Each image goes
    through alone, as the pyramid's convolutions would otherwise mix in the padding.
    """

    least_size = 1

    def __init__(self, model: Detector | Model, strides: Sequence[int] | None = None) -> None:
        self.backbone: Any = model.backbone
        self.head = cast(ObjectHead, model.head)
        self.strides = chosen(strides, self.head.strides, "The head")
        self.levels = numbered(self.head.strides)

    def __call__(self, images: Tensor, sizes: Sequence[Size]) -> list[FeatureMaps]:
        """Return the maps of each image."""
        return [
            self._alone(image[None, :, :height, :width]) for image, (height, width) in zip(images, sizes, strict=True)
        ]

    def _alone(self, image: Tensor) -> FeatureMaps:
        height, width = image.shape[-2:]
        divisor, head = self.head.divisor, self.head
        padded = nn.functional.pad(image, (0, -width % divisor, 0, -height % divisor))
        maps = head.maps(self.backbone(padded))
        return {
            stride: level[0, :, : -(-height // stride), : -(-width // stride)]
            for stride, level in zip(head.strides, maps, strict=True)
            if stride in self.strides
        }


def head_maps(model: nn.Module, strides: Sequence[int] | None = None) -> Extractor:
    """Return the extractor of the last maps of a model's head before its classifier.

    Raises:
        ConfigError: the model has no head whose maps are known, or no map of such a stride.
    """
    if isinstance(model, Detector) or (isinstance(model, Model) and model.brings_losses):
        return PyramidMaps(model, strides)
    if not isinstance(model, Model):
        raise ConfigError(f"{type(model).__name__} has no head whose maps are known.", "Leave maps=head out.")
    return ClassifierMaps(model, strides)


def numbered(strides: Sequence[int]) -> Mapping[int, int]:
    """Return the index of each stride, from 0."""
    return {stride: place for place, stride in enumerate(strides)}


def chosen(wanted: Sequence[int] | None, there: Sequence[int], whose: str) -> tuple[int, ...]:
    """Return the strides that were asked for, from fine to coarse; all for None.

    Raises:
        ConfigError: one of them does not exist.
    """
    if wanted is None:
        return tuple(there)
    missing = sorted(set(wanted) - set(there))
    if missing or not wanted:
        raise ConfigError(
            f"{whose} has no map of stride {', '.join(map(str, missing))}." if missing else "levels=[] keeps no map.",
            f"Choose levels=[...] of {', '.join(map(str, there))}, or leave it out for all.",
        )
    return tuple(stride for stride in there if stride in wanted)


@contextmanager
def watched(module: nn.Module) -> Iterator[list[tuple[Any, ...]]]:
    """Yield a list to which each call of a module adds its positional arguments, until the context ends."""
    calls: list[tuple[Any, ...]] = []
    handle = module.register_forward_pre_hook(lambda _, given: calls.append(given))
    try:
        yield calls
    finally:
        handle.remove()
