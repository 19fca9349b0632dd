"""CoaT, the co-scale conv-attentional image transformer (Xu et al., ICCV 2021, arXiv 2104.06399), and its variants.

Four stages of serial blocks halve the size from stride 4 to 32. In CoaT, not in CoaT-Lite, parallel blocks then let the
scales 2 to 4 exchange features (section 4). Each scale has one class token, one position encoding (CPE) and one
relative position encoding (CRPE, section 3); all blocks of a scale share its encodings, so these belong to the network,
which passes them to the blocks. Parameters have the names of the authors' files.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from annotated_types import Ge, Le, MinLen
from pydantic import AfterValidator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from coatseg.errors import ConfigError, nearest
from coatseg.models.backbones.attention import PositionEncoding, RelativePositionEncoding
from coatseg.models.backbones.blocks import CO_SCALES, CoScale, ParallelBlock, SerialBlock
from coatseg.models.backbones.freezing import Freezable, Stages, at_rest, without_use
from coatseg.models.backbones.padding_mask import Valid, as_pairs, find_valid
from coatseg.models.backbones.tokens import Tokens
from coatseg.models.backbones.variants import VARIANTS, Variant, find_variant
from coatseg.models.weights import files
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate, legal
from coatseg.structures import Level, Size

STRIDES = (4, 8, 16, 32)
STAGES = (1, 2, 3, 4)
LEVELS = (0, 1, 2, 3)
STAGE_PARTS = ("patch_embed", "cls_token", "cpe", "crpe", "serial_blocks")
LEAST_SIZE = 32


def in_order(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return strides if each is larger than the one before it.

    Raises:
        ValueError: they are not, as pydantic wants to be told.
    """
    if list(strides) != sorted(set(strides)):
        raise ValueError(f"{list(strides)} is not in order")
    return strides


LevelStrides = Annotated[
    tuple[Literal[4, 8, 16, 32], ...],
    MinLen(1),
    AfterValidator(in_order),
    legal("Give strides of 4, 8, 16 and 32 in order, such as [4,8,16]"),
]
OutIndices = Annotated[
    tuple[Annotated[int, Ge(0), Le(3)], ...], MinLen(1), legal("Give levels from 0 to 3 in order, such as [0,1,2]")
]


class PatchEmbed(nn.Module):
    """The patch embedding that starts a stage: cuts a map into patches and embeds each."""

    def __init__(self, in_channels: int, channels: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, patch, stride=patch)
        self.norm = nn.LayerNorm(channels, eps=1e-5)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, channels, H // patch, W // patch) in channels-last memory."""
        embedded: Tensor = self.norm(self.proj(image).permute(0, 2, 3, 1).contiguous())
        return embedded.permute(0, 3, 1, 2)


class Encoder(nn.Module):
    """The part of CoaT that backbone and classifier share: images to the tokens of four scales."""

    def __init__(
        self,
        variant: Variant,
        *,
        in_channels: int = 3,
        drop_path: float = 0.0,
        conv_position_encoding: bool = True,
        conv_relative_position: bool = True,
        co_scale: CoScale = "interpolation",
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_co_scale(variant, co_scale)
        channels = variant.channels
        self.variant = variant
        self.in_channels = in_channels
        self.checkpointing = checkpointing
        self.stages: tuple[int, ...] = STAGES
        self.wanted: tuple[int, ...] = STAGES
        for stage, width, before in zip(STAGES, channels, (in_channels, *channels), strict=False):
            self.add_module(f"patch_embed{stage}", PatchEmbed(before, width, patch=4 if stage == 1 else 2))
            self.register_parameter(f"cls_token{stage}", nn.Parameter(torch.zeros(1, 1, width)))
            self.add_module(f"cpe{stage}", PositionEncoding(width) if conv_position_encoding else None)
            self.add_module(f"crpe{stage}", RelativePositionEncoding(width) if conv_relative_position else None)
        for stage, width, ratio, depth in zip(STAGES, channels, variant.mlp_ratios, variant.serial_depths, strict=True):
            blocks = nn.ModuleList(SerialBlock(width, ratio, drop_path) for _ in range(depth))
            self.add_module(f"serial_blocks{stage}", blocks)
        if not variant.lite:
            self.parallel_blocks = nn.ModuleList(
                ParallelBlock(channels[1], variant.mlp_ratios[1], drop_path, co_scale)
                for _ in range(variant.parallel_depth)
            )
        initialize(self)

    def encode(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[Tokens]:
        """Map (B, in_channels, H, W) images to the tokens of scales 1 to 4; `sizes` as in CoaT.forward.

        Raises:
            ConfigError: the images have other channels than the network or a side shorter than 32 pixels, or the sizes
                are not theirs.
        """
        pairs = as_pairs(sizes)
        check_images(images, self.in_channels, pairs)
        valid = find_valid(images, pairs)
        image = images if valid is None else valid.keep(images)
        image = image.contiguous(memory_format=torch.channels_last)
        scales: list[Tokens] = []
        for stage, stride, before in zip(self.stages, STRIDES, (1, *STRIDES), strict=False):
            valid = None if valid is None else valid.coarser(stride // before)
            tokens = self._serial(stage, image, valid)
            image = tokens.image
            scales.append(tokens)
        return [scales[0], *self._parallel(scales[1:])] if scales[1:] and not self.variant.lite else scales

    def _serial(self, stage: int, image: Tensor, valid: Valid | None) -> Tokens:
        cls: Tensor = getattr(self, f"cls_token{stage}")
        tokens = Tokens.join(getattr(self, f"patch_embed{stage}")(image), cls.expand(image.shape[0], -1, -1), valid)
        for block in getattr(self, f"serial_blocks{stage}"):
            tokens = self._run(block, tokens, getattr(self, f"cpe{stage}"), getattr(self, f"crpe{stage}"))
        return tokens

    def _parallel(self, scales: list[Tokens]) -> list[Tokens]:
        cpes = [getattr(self, f"cpe{scale}") for scale in CO_SCALES]
        crpes = [getattr(self, f"crpe{scale}") for scale in CO_SCALES]
        *blocks, last = self.parallel_blocks
        for block in blocks:
            scales = self._run(block, scales, cpes, crpes)
        mixed: list[Tokens] = self._run(last, scales, cpes, crpes, self.wanted)
        return mixed

    def _run(self, block: nn.Module, *given: Any) -> Any:
        """Run a block; if checkpointing, nothing but its inputs is kept for the backward pass."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, *given, use_reentrant=False)
        return block(*given)

    def depths(self) -> dict[str, int]:
        """Map every parameter's name to its depth: 0 for the first patch embedding, then one more for every block.

        A later patch embedding and class token have the depth of the block that they feed, a shared encoding that of
        the first block that uses it, and layers after the blocks come last.
        """
        places = {"patch_embed1": 0, "cls_token1": 0}
        depth = 1
        for stage, count in zip(STAGES, self.variant.serial_depths, strict=True):
            for part in ("patch_embed", "cls_token", "cpe", "crpe"):
                places.setdefault(f"{part}{stage}", depth)
            places |= {f"serial_blocks{stage}.{block}": depth + block for block in range(count)}
            depth += count
        places |= {f"parallel_blocks.{block}": depth + block for block in range(self.variant.parallel_depth)}
        last = depth + self.variant.parallel_depth

        def place(name: str) -> int:
            first, second, *_ = [*name.split("."), ""]
            return places.get(first, places.get(f"{first}.{second}", last))

        return {name: place(name) for name, _ in self.named_parameters()}


class CoaT(Encoder, Freezable):
    """The CoaT backbone, which maps images to a pyramid of four feature maps.

    Options: `in_channels` of the images; `drop_path`, the rate at which residual branches are dropped in training, the
    same in all blocks; `conv_position_encoding` and `conv_relative_position` switch CPE and CRPE off, as the paper's
    ablation does; `co_scale` is the exchange between scales (see ParallelBlock), which CoaT-Lite does not have;
    `checkpointing` trades time for memory: in training each block keeps its inputs only, and is computed twice.
    """

    def __init__(self, variant: Variant, **options: Any) -> None:
        super().__init__(variant, **options)
        self.choose_levels(LEVELS)

    def choose_levels(self, indices: Sequence[int]) -> None:
        """Output the levels of these indices only; what they do not need is neither computed nor trained from now on.

        Raises:
            ConfigError: there are no indices, or they are not in order, or not from 0 to 3.
        """
        if not indices or list(indices) != sorted(set(indices) & set(LEVELS)):
            raise ConfigError(
                f"out_indices={list(indices)} does not fit.", "Give levels from 0 to 3 in order, as [0,1,2]."
            )
        self.out_indices = tuple(indices)
        self.levels = tuple(Level(STRIDES[index], self.variant.channels[index]) for index in indices)
        self.wanted = tuple(STAGES[index] for index in indices)
        last = max(indices)
        self.stages = STAGES[: last + 1] if self.variant.lite or last == 0 else STAGES
        if self.out_indices != LEVELS:
            self.freeze(self._unused())

    def _unused(self) -> list[nn.Parameter]:
        """Return the parameters that no output depends on, found by gradients, since parallel blocks mix the scales."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        images = self.cls_token1.new_zeros(1, self.in_channels, LEAST_SIZE, LEAST_SIZE)  # type: ignore[operator]
        with at_rest(self):
            return without_use(trained, self(images))

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[Tensor]:
        """Map (B, in_channels, H, W) images to one map per chosen level, neither normalised nor with a class token.

        H and W are 32 pixels or more; each patch embedding floors, so 250x333 becomes 62x83, 31x41, 15x20 and 7x10.
        For CoaT-Lite these are the outputs of the four stages, for CoaT those of stage 1 and of the parallel blocks.

        `sizes` are the (height, width) of the images where they are padded at the bottom and right, with any values. An
        image's features are then those that it has alone, within its size divided by the stride and floored, and zero
        beyond.

        Raises:
            ConfigError: the images have other channels than the network or a side shorter than 32 pixels, or the sizes
                are not theirs.
        """
        scales = self.encode(images, sizes)
        return [with_channels_last_gradient(scales[index].within()) for index in self.out_indices]

    def freeze_stages(self, count: int) -> None:
        """Freeze the first `count` stages: patch embedding, class token, CPE, CRPE and serial blocks.

        The encodings of scales 2 to 4 are frozen with their stage, though CoaT's parallel blocks, which still train,
        use them too: otherwise the output of a frozen stage would change.
        """
        frozen = {f"{part}{stage}" for part in STAGE_PARTS for stage in STAGES[:count]}
        self.freeze(parameter for name, parameter in self.named_parameters() if name.partition(".")[0] in frozen)


def create_backbone(
    name: str,
    *,
    pretrained: bool | str | Path = False,
    in_channels: PositiveInt = 3,
    drop_path: Rate = 0.0,
    conv_position_encoding: bool = True,
    conv_relative_position: bool = True,
    co_scale: CoScale = "interpolation",
    frozen_stages: Stages = 0,
    checkpointing: bool = False,
    levels: LevelStrides | None = None,
    out_indices: OutIndices = LEVELS,
) -> CoaT:
    """Make the backbone of a variant; `pretrained` is True for the catalogue's weights, or a path.

    Files are read as in models/weights/files.py. The first `frozen_stages` of the four stages are not trained (see
    CoaT.freeze_stages). `levels` are the strides of the maps to output, of 4, 8, 16 and 32, all by default; what only
    others need is neither computed nor trained. `out_indices`, the older word, counts them from 0. The other options
    are those of CoaT.

    Raises:
        ConfigError: levels that are not in order, or said in both ways.
        WeightsError: the weights cannot be had, or do not fit.
    """
    chosen = chosen_indices(levels, out_indices)
    model = CoaT(
        find_variant(name),
        in_channels=in_channels,
        drop_path=drop_path,
        conv_position_encoding=conv_position_encoding,
        conv_relative_position=conv_relative_position,
        co_scale=co_scale,
        checkpointing=checkpointing,
    )
    files.load_pretrained(model, name, pretrained)
    model.freeze_stages(frozen_stages)
    model.choose_levels(chosen)
    return model


def chosen_indices(levels: Sequence[int] | None, out_indices: Sequence[int]) -> Sequence[int]:
    """Return the numbers, from 0, of the levels that are named by stride or, without that, by number.

    Raises:
        ConfigError: they are named both ways, or a stride is none of CoaT's.
    """
    if levels is None:
        return out_indices
    if tuple(out_indices) != LEVELS:
        raise ConfigError("levels and out_indices both say which maps to output.", "Leave out_indices out.")
    if unknown := [stride for stride in levels if stride not in STRIDES]:
        raise ConfigError(f"levels has the stride {unknown[0]}, which CoaT has no map of.", f"Choose of {STRIDES}.")
    return [STRIDES.index(stride) for stride in levels]


def initialize(module: nn.Module) -> None:
    """Initialise as the authors do: linear weights and class tokens from a truncated normal distribution, std 0.02."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
    for name, parameter in module.named_parameters(recurse=False):
        if name.startswith("cls_token"):
            nn.init.trunc_normal_(parameter, std=0.02)


def check_co_scale(variant: Variant, co_scale: str) -> None:
    """Raise ConfigError for a co-scale design that is unknown, or that CoaT-Lite does not have."""
    if co_scale not in get_args(CoScale):
        raise ConfigError(f"co_scale is {co_scale!r}.", nearest(co_scale, get_args(CoScale)))
    if variant.lite and co_scale != "interpolation":
        raise ConfigError(
            f"CoaT-Lite has no exchange between scales, so co_scale={co_scale} means nothing for it.",
            "Leave co_scale out, or choose coat_tiny, coat_mini or coat_small.",
        )


def check_images(images: Tensor, in_channels: int, sizes: Sequence[Size] | None = None) -> None:
    """Raise ConfigError for images, or valid sizes of padded images, that the network cannot take."""
    if images.ndim != 4 or images.shape[1] != in_channels:
        raise ConfigError(
            f"The backbone takes images of shape (B, {in_channels}, H, W) and was given {tuple(images.shape)}.",
            "Set the backbone's in_channels to the number of channels of the images.",
        )
    for height, width in (images.shape[-2:], *(sizes or ())):
        if height < LEAST_SIZE or width < LEAST_SIZE:
            raise ConfigError(
                f"An image of {height}x{width} pixels is too small for the backbone, whose coarsest stride is 32.",
                f"The least legal size is {LEAST_SIZE}x{LEAST_SIZE}: enlarge or pad the image.",
            )


def with_channels_last_gradient(image: Tensor) -> Tensor:
    """Make the gradient of a feature map arrive in channels-last memory, whatever layout the head computes in.

    Gradients keep their layout along all residual connections, and an elementwise operation over two layouts is 20 to
    30 times slower than over one.
    """
    if image.requires_grad and not torch.compiler.is_compiling():
        image.register_hook(_channels_last)  # type: ignore[no-untyped-call]
    return image


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


for _name in VARIANTS:
    register("backbone", _name)(partial(create_backbone, _name))
