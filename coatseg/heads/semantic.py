"""Semantic heads: segmentation-models-pytorch's decoders over any pyramid, through one adapter.

A decoder of smp expects the list of an smp encoder: the image, a stride-2 map, then strides 4, 8, 16, 32. CoaT has no
stride-2 map, so the adapter hands on an empty one (zero channels), as smp does for its own Mix Transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Literal

from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from coatseg.errors import ConfigError
from coatseg.schema import PositiveInt, Rate
from coatseg.structures import Level

STRIDES = (4, 8, 16, 32)
Norm = Literal["group", "batch"]


class SemanticHead(nn.Module):
    """An smp decoder and a classifying convolution: pyramid to logits (B, classes, h, w) at the decoder's stride.

    `divisor` is what the height and width of the images must be a multiple of.
    """

    divisor = 32

    def __init__(self, decoder: nn.Module, width: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.decoder = decoder
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, images: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """Decode the pyramid of (B, C, H, W) images, H and W multiples of `divisor`."""
        batch, _, height, width = images.shape
        empty = images.new_zeros(batch, 0, height // 2, width // 2)
        features = self.decoder([images, empty, *pyramid])
        logits: Tensor = self.classify(self.dropout(features))
        return logits


def unet(
    levels: Sequence[Level],
    classes: int,
    *,
    widths: tuple[PositiveInt, ...] = (256, 128, 64, 32, 16),
    norm: Norm = "group",
    dropout: Rate = 0.0,
) -> SemanticHead:
    """U-Net (Ronneberger et al., 2015), logits at stride 1; `widths` are its five blocks' channels, coarse to fine."""
    if len(widths) != len(STRIDES) + 1:
        raise ConfigError(
            f"head.widths has {len(widths)} entries.", f"U-Net has {len(STRIDES) + 1} blocks, coarse to fine."
        )
    decoder = UnetDecoder(_smp_channels(levels, "unet"), widths, n_blocks=len(widths))
    return SemanticHead(with_norm(decoder, norm), widths[-1], classes, dropout=dropout)


def fpn(
    levels: Sequence[Level],
    classes: int,
    *,
    pyramid_width: PositiveInt = 256,
    width: PositiveInt = 128,
    dropout: Rate = 0.2,
) -> SemanticHead:
    """Panoptic FPN's semantic branch (Kirillov et al., 2019), logits at stride 4; its norms are of 32 groups."""
    if width % 32:
        raise ConfigError(f"head.width={width} is no multiple of 32.", "FPN's norms have 32 groups.")
    decoder = FPNDecoder(
        _smp_channels(levels, "fpn"), pyramid_channels=pyramid_width, segmentation_channels=width, dropout=0.0
    )
    return SemanticHead(decoder, decoder.out_channels, classes, dropout=dropout)


def upernet(
    levels: Sequence[Level], classes: int, *, width: PositiveInt = 256, norm: Norm = "group", dropout: Rate = 0.1
) -> SemanticHead:
    """UPerNet (Xiao et al., 2018): pyramid pooling on the coarsest level, an FPN, their fusion; logits at stride 4."""
    decoder = UPerNetDecoder(_smp_channels(levels, "upernet"), decoder_channels=width)
    return SemanticHead(with_norm(decoder, norm), width, classes, dropout=dropout)


def with_norm(decoder: nn.Module, norm: Norm) -> nn.Module:
    """Replace batch norms by group norms if `norm` is "group".

    A group norm sees one image only: training works with one image a process, and the gradient does not depend on how
    many processes share a batch.
    """
    if norm == "batch":
        return decoder
    for module in decoder.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(group_count(child.num_features), child.num_features))
    return decoder


def group_count(channels: int) -> int:
    """Give the usual 32 groups (Wu and He, 2018), fewer where one would have under 8 channels or an uneven share."""
    return gcd(channels, max(1, min(32, channels // 8)))


def _smp_channels(levels: Sequence[Level], head: str) -> list[int]:
    """Give the channels an smp decoder is built from: image, stride 2 (none), then the levels."""
    strides = tuple(level.stride for level in levels)
    if strides != STRIDES:
        raise ConfigError(
            f"head={head} needs feature maps at strides {STRIDES}; this backbone has {strides}.",
            "Choose a backbone with four levels, such as any CoaT.",
        )
    return [3, 0, *(level.channels for level in levels)]
