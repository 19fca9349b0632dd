"""What the semantic heads share: the adapter from a pyramid to a decoder of segmentation-models-pytorch, and norms.

A decoder of smp expects the list of an smp encoder: the image, a stride-2 map, then strides 4, 8, 16, 32. CoaT has no
stride-2 map, so the adapter passes an empty one (zero channels), as smp does for its own Mix Transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Annotated, Literal

from torch import Tensor, nn

from coatseg.errors import ConfigError
from coatseg.registry.options import PositiveInt, legal
from coatseg.structures import Level

STRIDES = (4, 8, 16, 32)
HeadNorm = Literal["group", "batch"]
Rates = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt], legal("Give three dilations, such as [6,12,18]")]


class SemanticHead(nn.Module):
    """A decoder and a classifying convolution: pyramid to logits (B, classes, h, w) at the decoder's stride.

    `decoder` maps the list of an smp encoder that ends at stride `coarsest` to a (B, width, h, w) map; `dropout` is the
    rate at which whole channels of this map are dropped in training. Height and width of the images must be multiples
    of `divisor`, the coarsest stride of the backbone, so that its maps cover the image without a remainder.
    `levels_used` is how many levels the head uses, from fine to coarse; the backbone need not compute more.
    """

    divisor = STRIDES[-1]

    def __init__(
        self, decoder: nn.Module, width: int, classes: int, *, coarsest: int = STRIDES[-1], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.decoder = decoder
        self.levels_used = STRIDES.index(coarsest) + 1
        self.width = width
        self.dropout = nn.Dropout2d(dropout)
        self.classify: nn.Module = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, images: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """Return the logits for images (B, C, H, W), H and W multiples of `divisor`, and their pyramid."""
        batch, _, height, width = images.shape
        empty = images.new_zeros(batch, 0, height // 2, width // 2)
        features = self.decoder([images, empty, *pyramid[: self.levels_used]])
        logits: Tensor = self.classify(self.dropout(features))
        return logits


def smp_channels(levels: Sequence[Level], head: str, *, coarsest: int = STRIDES[-1]) -> list[int]:
    """Return the channels that an smp decoder takes: the image's, 0 for stride 2, and those of the levels.

    Levels beyond stride `coarsest` are left out.

    Raises:
        ConfigError: the levels do not begin with those of the strides 4, 8, 16 and 32, as far as they are needed.
    """
    strides = tuple(level.stride for level in levels)
    needed = tuple(stride for stride in STRIDES if stride <= coarsest)
    if strides[: len(needed)] != needed:
        raise ConfigError(
            f"head={head} needs feature maps at strides {needed}; this backbone has {strides}.",
            "Leave backbone.levels (or out_indices) out, or choose a backbone with these levels, such as any CoaT.",
        )
    return [3, 0, *(level.channels for level in levels if level.stride <= coarsest)]


def check_widths(widths: Sequence[int], count: int, head: str) -> None:
    """Raise ConfigError if there is not one width for each of the head's `count` blocks."""
    if len(widths) != count:
        raise ConfigError(f"head.widths has {len(widths)} entries.", f"{head} has {count} blocks, one width each.")


def with_norm(decoder: nn.Module, norm: HeadNorm) -> nn.Module:
    """Return the decoder, with its batch norms replaced by group norms if `norm` is "group".

    A group norm sees one image only: training works with one image a process, and the gradient does not depend on how
    many processes share a batch. A map of one channel gets no norm: normalised alone it would lose its mean, which is
    all that a map of one pixel has.
    """
    if norm == "batch":
        return decoder
    for module in decoder.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                channels = child.num_features
                setattr(module, name, nn.Identity() if channels == 1 else nn.GroupNorm(group_count(channels), channels))
    return decoder


def group_count(channels: int) -> int:
    """Return the usual 32 groups (Wu and He, 2018), fewer if one would have under 8 channels or an uneven share."""
    return gcd(channels, max(1, min(32, channels // 8)))
