"""Panoptic-DeepLab (Cheng et al., CVPR 2020): classes, the centres of things, and every pixel's way to its centre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional

from coatseg.errors import ConfigError
from coatseg.models.heads.base import ObjectHead
from coatseg.models.heads.detection.base import group_norm, in_float32
from coatseg.models.heads.panoptic.losses import Learning, panoptic_losses
from coatseg.models.heads.panoptic.maps import PanopticMaps
from coatseg.models.heads.panoptic.merging import MergedMaps, Merging
from coatseg.models.heads.panoptic.truth import batch_truth, truth_maps
from coatseg.models.heads.semantic.base import SemanticHead
from coatseg.registry.names import make, register, table
from coatseg.registry.options import Constructor, PositiveInt, function_of
from coatseg.structures import Level, PanopticTarget, Size

DEFAULTS: Mapping[str, Any] = MappingProxyType({})
"""Options of a decoder, where none differs."""

SIDE = 64
"""The side in pixels of the image by which a decoder's stride is found out."""

FIRST = 0.001
"""The standard deviation of the predicting layers' first weights, as in the authors' code: maps near zero."""


class Predictor(nn.Sequential):
    """A 5x5 convolution, separable, and one that predicts; maps (B, channels, h, w) to float32 (B, outputs, h, w).

    With `finer` above 1 every position predicts a square of finer x finer positions (Shi et al., 2016).
    """

    def __init__(self, channels: int, width: int, outputs: int, finer: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False),
            nn.Conv2d(channels, width, 1, bias=False),
            group_norm(width),
            nn.ReLU(inplace=True),
            in_float32(_at_first_zero(nn.Conv2d(width, outputs * finer**2, 1))),
            nn.PixelShuffle(finer),
        )


@register("head", "panoptic_deeplab")
class PanopticDeepLab(ObjectHead):
    """Panoptic-DeepLab on the decoder of a semantic head.

    `decoder` names that head, and `decoder_options` are the options of it that differ. The things' maps come from a
    decoder of their own where `instance_decoder` names one, as in the paper, with `instance_decoder_options`; else all
    three share one. Before each prediction is a 5x5 convolution, of `width` channels for classes and `instance_width`
    for centres and for offsets.

    Raises:
        ConfigError: a decoder is no dense head, an option does not fit it, or it does not fit the backbone.
    """

    gives = frozenset({"segments"})
    not_exported = ""
    is_thing: Tensor

    def __init__(
        self,
        levels: Sequence[Level],
        classes: int,
        things: Sequence[int],
        *,
        decoder: str = "deeplabv3plus",
        decoder_options: Mapping[str, Any] = DEFAULTS,
        instance_decoder: str | None = None,
        instance_decoder_options: Mapping[str, Any] = DEFAULTS,
        width: PositiveInt = 256,
        instance_width: PositiveInt = 32,
        finer: PositiveInt = 1,
        learning: Learning = Learning(),
        merging: Merging = Merging(),
    ) -> None:
        super().__init__()
        self.learning, self.merging = learning, merging
        if instance_decoder is None and instance_decoder_options:
            raise ConfigError(
                "head.instance_decoder_options are options of no decoder.", "Set head.instance_decoder too."
            )
        self.decoder = _decoder(levels, decoder, decoder_options, "head.decoder")
        self.instance_decoder = (
            None
            if instance_decoder is None
            else _decoder(levels, instance_decoder, instance_decoder_options, "head.instance_decoder")
        )
        used = [part for part in (self.decoder, self.instance_decoder) if part is not None]
        self.divisor = self.decoder.divisor
        self.levels_used = max(part.levels_used for part in used)
        self.stride = _stride(used[-1], levels)
        self.strides = tuple(sorted({_stride(part, levels) for part in used}))
        self.classes = Predictor(self.decoder.width, width, classes, finer)
        self.centres = Predictor(used[-1].width, instance_width, 1, finer)
        self.offsets = Predictor(used[-1].width, instance_width, 2, finer)
        is_thing = torch.zeros(classes, dtype=torch.bool)
        is_thing[list(things)] = True
        self.register_buffer("is_thing", is_thing, persistent=False)

    def forward(
        self,
        images: Tensor,
        pyramid: Sequence[Tensor],
        sizes: Sequence[Size],
        targets: Sequence[PanopticTarget] | None = None,
    ) -> dict[str, Tensor] | list[MergedMaps]:
        """Return the losses against `targets`, or without them the maps of each image, to be merged at any size."""
        maps = self.predict(images, pyramid)
        if targets is None:
            return self.found(maps)
        truths = [truth_maps(target, self.is_thing, self.learning.sigma) for target in targets]
        truth = batch_truth(truths, (images.shape[-2], images.shape[-1]))
        return panoptic_losses(maps, truth, self.learning)

    def predict(self, images: Tensor, pyramid: Sequence[Tensor]) -> PanopticMaps:
        """Return the maps of images (B, C, H, W) at their size: plain tensors, as a graph of any size gives them."""
        features = self.decoder(images, pyramid)
        things = features if self.instance_decoder is None else self.instance_decoder(images, pyramid)
        size = images.shape[-2:]
        return PanopticMaps(
            _resized(self.classes(features), size),
            _resized(self.centres(things), size),
            # What the layer predicts is in strides: of the scale of a convolution's outputs.
            _resized(self.offsets(things) * self.stride, size),
        )

    def found(self, maps: PanopticMaps) -> list[MergedMaps]:
        """Return the maps of a batch as what is found in each of its images."""
        rows = zip(*maps, strict=True)
        return [MergedMaps(PanopticMaps(*row), self.is_thing, self.merging) for row in rows]

    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return what the decoders give, side by side where they have one stride."""
        finest = pyramid[0]
        images = finest.new_zeros(len(finest), 3, *(side * 4 for side in finest.shape[-2:]))
        parts = [part(images, pyramid) for part in (self.decoder, self.instance_decoder) if part is not None]
        parts.sort(key=lambda part: -part.shape[-1])
        return [torch.cat(parts, dim=1)] if len(self.strides) == 1 else parts

    def compilable(self) -> list[nn.Module]:
        """Return decoders and predicting layers."""
        parts = (self.decoder, self.instance_decoder, self.classes, self.centres, self.offsets)
        return [part for part in parts if part is not None]


def _at_first_zero(layer: nn.Conv2d) -> nn.Conv2d:
    """Give a layer weights by which it first predicts next to nothing."""
    nn.init.normal_(layer.weight, std=FIRST)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _decoder(levels: Sequence[Level], name: str, options: Mapping[str, Any], key: str) -> SemanticHead:
    """Build a semantic head without its classifier: a pyramid to the map (B, width, h, w) of its decoder."""
    decoders = sorted(head for head, constructor in table("head").items() if is_decoder(constructor))
    if name not in decoders:
        raise ConfigError(f"{key}={name} is no decoder.", f"Choose one of: {', '.join(decoders)}.")
    try:
        head: SemanticHead = make("head", name, options, f"{key}_options", levels=levels, classes=1)
    except ConfigError as error:
        mend = f"{error.mend} If {key}_options are another decoder's, leave them out by ~{key}_options."
        raise ConfigError(error.what, mend) from error
    head.classify = nn.Identity()
    return head


def is_decoder(constructor: Constructor) -> bool:
    """Return whether a constructor of heads builds a semantic head, which has a decoder."""
    made = constructor if isinstance(constructor, type) else get_type_hints(function_of(constructor)).get("return")
    return isinstance(made, type) and issubclass(made, SemanticHead)


def _stride(decoder: SemanticHead, levels: Sequence[Level]) -> int:
    """Return the stride of a decoder's map."""
    pyramid = [torch.zeros(1, level.channels, SIDE // level.stride, SIDE // level.stride) for level in levels]
    training = decoder.training
    with torch.no_grad():
        side: int = decoder.eval()(torch.zeros(1, 3, SIDE, SIDE), pyramid).shape[-1]
    decoder.train(training)
    return SIDE // side


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    return maps if maps.shape[-2:] == size else functional.interpolate(maps, size, mode="bilinear", align_corners=False)
