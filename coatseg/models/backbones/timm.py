"""Any hierarchical model of timm as a backbone under the same contract as CoaT, to compare with."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coatseg.errors import ConfigError, WeightsError
from coatseg.models.backbones.coat import STRIDES, check_images
from coatseg.models.backbones.freezing import Freezable, Stages, at_rest, without_use
from coatseg.models.backbones.padding_mask import as_pairs, find_valid
from coatseg.models.weights import files
from coatseg.registry.names import register
from coatseg.structures import Level, Size

COARSEST = STRIDES[-1]


class TimmBackbone(Freezable):
    """A timm feature extractor with maps at the strides 4, 8, 16 and 32.

    Maps of other strides are left out. `model` is what `timm.create_model(..., features_only=True)` returns, `name` is
    its name in errors.

    Raises:
        ConfigError: the model does not have one map at each of these strides, as with plain vision transformers.
    """

    def __init__(self, model: nn.Module, name: str, in_channels: int) -> None:
        super().__init__()
        info: Any = model.feature_info
        strides: list[int] = info.reduction()
        self.used = [index for index, stride in enumerate(strides) if stride in STRIDES]
        if tuple(strides[index] for index in self.used) != STRIDES:
            raise ConfigError(
                f"{name} has maps at the strides {strides}, which is no pyramid of the strides {list(STRIDES)}.",
                "Choose a hierarchical model, such as resnet50, convnext_tiny or swin_tiny_patch4_window7_224.",
            )
        self.model = model
        self.name = name
        self.in_channels = in_channels
        self.channels_last = getattr(model, "output_fmt", None) == "NHWC"
        self.levels = tuple(Level(strides[index], info.channels()[index]) for index in self.used)

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[Tensor]:
        """Map (B, in_channels, H, W) images to one (B, level.channels, H // stride, W // stride) map per level.

        Many models need sides that are multiples of 32: images of other sides are padded with zeros, and the maps are
        cropped accordingly.

        `sizes` are the (height, width) of the images where they are padded at the bottom and right. timm's models would
        take the padding for image, so each image is then computed alone (batch norms in training see it alone too), and
        the maps are zero outside its valid part.

        Raises:
            ConfigError: the images have other channels than the model, a side shorter than 32 pixels, or a size that
                the model was not built for, or the sizes are not theirs.
        """
        pairs = as_pairs(sizes)
        check_images(images, self.in_channels, pairs)
        valid = find_valid(images, pairs)
        if valid is None:
            return self._maps(images)
        rows = zip(images, valid.sizes, strict=True)
        alone = [self._maps(image[None, :, :height, :width]) for image, (height, width) in rows]
        largest = [(images.shape[-2] // level.stride, images.shape[-1] // level.stride) for level in self.levels]
        return [
            torch.cat([F.pad(image, (0, width - image.shape[-1], 0, height - image.shape[-2])) for image in level])
            for level, (height, width) in zip(zip(*alone, strict=True), largest, strict=True)
        ]

    def _maps(self, images: Tensor) -> list[Tensor]:
        height, width = images.shape[-2:]
        try:
            maps = self.model(F.pad(images, (0, -width % COARSEST, 0, -height % COARSEST)))
        except AssertionError as error:
            raise ConfigError(
                f"{self.name} does not take images of {height}x{width} pixels: {error}",
                "Choose a model of timm that takes any size, or crop the images to the size it was built for.",
            ) from error
        maps = [maps[index].permute(0, 3, 1, 2) if self.channels_last else maps[index] for index in self.used]
        return [
            image[:, :, : height // level.stride, : width // level.stride]
            for image, level in zip(maps, self.levels, strict=True)
        ]

    def freeze_stages(self, count: int) -> None:
        """Freeze every parameter that the first `count` maps are computed from.

        Models name their stages in many ways, so the parameters are those that the maps of an empty image depend on.
        """
        if count == 0:
            return
        height, width = self.model.pretrained_cfg["input_size"][-2:]  # type: ignore[index]
        parameters = list(self.parameters())
        with at_rest(self):
            maps = self(torch.zeros(1, self.in_channels, height, width))
            later = set(without_use(parameters, maps[:count]))
        self.freeze(parameter for parameter in parameters if parameter not in later)

    def depths(self) -> dict[str, int]:
        """Map every parameter's name to its depth: 0 for the first, then one more for every numbered block.

        The blocks are read from the names, in the order in which the model registered them.
        """
        blocks: dict[str, int] = {}
        depths: dict[str, int] = {}
        depth = 0
        for name, _ in self.named_parameters():
            block = _numbered_block(name)
            if block and block not in blocks:
                depth += bool(depths)
                blocks[block] = depth
            depths[name] = blocks.get(block, depth)
        return depths


@register("backbone", "timm")
def create_backbone(
    model: str,
    *,
    pretrained: bool | str | Path = False,
    in_channels: int = 3,
    drop_path: float = 0.0,
    frozen_stages: Stages = 0,
) -> TimmBackbone:
    """Make a backbone of a timm model.

    `model` is a name of `timm.list_models()`. `pretrained` is True for timm's own weights, which timm downloads, or the
    path of a file of the whole model's parameters. `drop_path` is timm's `drop_path_rate`. The layers up to the map of
    the `frozen_stages`-th stride are not trained, and their batch norms keep their statistics.

    Raises:
        ConfigError: timm has no such model, or the model cannot be a backbone.
        WeightsError: the weights could not be fetched, or are not those of the model.
    """
    import timm

    if not timm.is_model(model.partition(".")[0]):
        close = difflib.get_close_matches(model, timm.list_models(), n=3)
        nearest = f"Did you mean {', '.join(close)}? " if close else ""
        raise ConfigError(f"timm has no model {model!r}.", f"{nearest}timm.list_models() names them all.")
    options: dict[str, Any] = {"pretrained": pretrained is not False}
    try:
        if not isinstance(pretrained, bool):
            options["pretrained_cfg_overlay"] = {"state_dict": files.read_tensors(pretrained)}
            # timm passes over missing parameters when it makes feature extractors, but not when it makes whole models.
            timm.create_model(model, **options)
        if drop_path:
            options["drop_path_rate"] = drop_path
        extractor = _any_size(model, features_only=True, in_chans=in_channels, **options)
    except WeightsError:
        raise
    except Exception as error:  # timm, its hub client and the network each have errors of their own
        if pretrained is False:
            raise ConfigError(
                f"timm cannot make a backbone of {model}: {error}", "Choose a hierarchical model."
            ) from error
        raise WeightsError(
            f"The weights of {model} could not be loaded: {error}",
            "Set backbone.pretrained=PATH to a file of the whole model as timm publishes it, or to false.",
        ) from error
    backbone = TimmBackbone(extractor, model, in_channels)
    backbone.freeze_stages(frozen_stages)
    return backbone


def _any_size(model: str, **options: Any) -> nn.Module:
    import timm

    # Windowed transformers take images of any size only if asked to; other models do not know the option.
    try:
        extractor: nn.Module = timm.create_model(model, dynamic_img_size=True, **options)
    except TypeError:
        extractor = timm.create_model(model, **options)
    return extractor


def _numbered_block(name: str) -> str:
    parts = name.split(".")
    numbered = [index for index, part in enumerate(parts) if part.isdecimal()]
    if not numbered:
        return ""
    last = numbered[0]
    while parts[last + 1].isdecimal():
        last += 1
    return ".".join(parts[: last + 1])
