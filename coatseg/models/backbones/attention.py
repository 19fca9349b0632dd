"""The conv-attentional module of CoaT: attention linear in the number of tokens, positions encoded by convolutions.

Xu et al., "Co-Scale Conv-Attentional Image Transformers", ICCV 2021, section 3.

The functions here are the definitions, and compiled and exported graphs are made of them. Otherwise the modules call
the equivalents in kernels/fast_paths.py, which store and copy less but have no second derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coatseg.models.backbones.kernels import fast_paths
from coatseg.models.backbones.kernels.depthwise import depthwise
from coatseg.models.backbones.kernels.matmul import at_least_float
from coatseg.models.backbones.tokens import Tokens, as_map, pixels
from coatseg.models.precision import full_precision
from coatseg.structures import Size

HEADS = 8
CRPE_WINDOWS = {3: 2, 5: 3, 7: 3}  # window size: how many of the heads use it


class QueriesKeysValues(NamedTuple):
    """The queries, keys and values of one scale, each with the channels of that scale."""

    queries: Tokens
    keys: Tokens
    values: Tokens


class Attention(nn.Module):
    """The layers of factorized attention with convolutional relative position encoding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, norm: nn.LayerNorm, tokens: Tokens, crpe: RelativePositionEncoding | None) -> Tokens:
        """Normalise the tokens of one scale and attend within it, C channels in and out; `mix` is to follow."""
        windows: list[nn.Conv2d] = [] if crpe is None else list(crpe.windows)
        if fast_paths.applies(tokens.rows, norm, self.qkv, *windows):
            return fast_paths.conv_attention(fast_paths.normed_linear(norm, self.qkv, tokens), HEADS, windows)
        return attend(*self.project(norm, tokens), crpe)

    def project(self, norm: nn.LayerNorm, tokens: Tokens) -> QueriesKeysValues:
        """Normalise tokens and return their queries, keys and values."""
        parts = self.qkv(norm(tokens.rows)).chunk(3, dim=1)
        return QueriesKeysValues(*(tokens._replace(rows=part) for part in parts))

    def mix(self, tokens: Tokens) -> Tokens:
        """Mix the outputs of the heads by the output projection."""
        if fast_paths.applies(tokens.rows, self.proj):
            return fast_paths.linear(self.proj, tokens)
        return tokens._replace(rows=self.proj(tokens.rows))

    def add_mixed(self, tokens: Tokens, attended: Tokens, kept: Tensor | None) -> Tokens:
        """Mix the heads' outputs and add them to the tokens, scaled by `kept` (see `drop_path`)."""
        if fast_paths.applies(tokens.rows, self.proj):
            return fast_paths.add_linear(self.proj, tokens, attended, kept)
        return add(tokens, self.proj(attended.rows), kept)


class PositionEncoding(nn.Module):
    """CPE: adds to the image tokens their depthwise convolution; the class token has no position."""

    def __init__(self, channels: int, window: int = 3) -> None:
        super().__init__()
        self.proj = depthwise(channels, window)

    def forward(self, tokens: Tokens) -> Tokens:
        """Return the tokens of one scale with their positions encoded."""
        if fast_paths.applies(tokens.rows, self.proj):
            return fast_paths.add_convolution(tokens, self.proj)
        return Tokens.join(tokens.image + self.proj(tokens.within()), tokens.cls, tokens.valid)


class RelativePositionEncoding(nn.Module):
    """CRPE: each query times, channel by channel, a window-weighted sum of the values around it.

    There is one depthwise convolution for each window size, over the channels of the heads that use it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = [channels // HEADS * heads for heads in CRPE_WINDOWS.values()]
        self.conv_list = nn.ModuleList(map(depthwise, self.channels, CRPE_WINDOWS))

    @property
    def windows(self) -> Iterator[nn.Conv2d]:
        """The depthwise convolutions, in the order of their channels."""
        return iter(self.conv_list)  # type: ignore[arg-type]  # a list of modules of unknown kind

    def forward(self, queries: Tensor, values: Tensor) -> Tensor:
        """Return the encoding of (B, C, H, W) queries and values, a map of the same size."""
        parts = torch.split(values, self.channels, dim=1)
        windows = torch.cat([conv(part) for conv, part in zip(self.conv_list, parts, strict=True)], dim=1)
        # As sequences: exporters derive spurious conditions from products of maps that are slices of a larger one.
        return as_map(pixels(queries) * pixels(windows), queries)


class MLP(nn.Module):
    """Two linear layers with GELU between them, applied to each token."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, norm: nn.LayerNorm, tokens: Tokens, kept: Tensor | None = None) -> Tokens:
        """Normalise tokens, apply the MLP and add its output to them, scaled by `kept` (see `drop_path`)."""
        if fast_paths.applies(tokens.rows, norm, self.fc1, self.fc2):
            return fast_paths.add_mlp(norm, self.fc1, self.fc2, tokens, kept)
        return add(tokens, self.fc2(F.gelu(self.fc1(norm(tokens.rows)))), kept)


def attend(queries: Tokens, keys: Tokens, values: Tokens, crpe: RelativePositionEncoding | None) -> Tokens:
    """Return conv-attention: factorized attention plus the relative position encoding of the image tokens."""
    image, cls = factorized_attention(queries, keys, values).split()
    if crpe is not None:
        image = image + crpe(queries.image, values.within())
    return Tokens.join(image, cls, queries.valid)


def factorized_attention(queries: Tokens, keys: Tokens, values: Tokens) -> Tokens:
    """Return Q / sqrt(d) (softmax(K)^T V) of every head, with the softmax over all tokens.

    The product in brackets is a d x d matrix, so the cost is linear in the number of tokens.
    """
    context = summarize(keys, values)
    context = (context * context.shape[-1] ** -0.5).to(queries.rows.dtype)
    image, cls = queries.split()
    attended = join_heads(split_heads(pixels(image)) @ context)
    return Tokens.join(as_map(attended, image), join_heads(split_heads(cls) @ context), queries.valid)


def summarize(keys: Tokens, values: Tokens) -> Tensor:
    """Sum the values, weighted by the softmax of the keys over all tokens, to (B, heads, d, d) float32.

    Whatever the precision of the model, this stays in float32 and is normalised last, on the small matrix: among the
    67,201 tokens of an 800x1344 image a weight is 1.5e-5 on average, below the smallest normal float16, and sums of
    unnormalised float16 values overflow.
    """
    with full_precision(keys.rows.device):
        image_keys, cls_keys = at_least_float(pixels(keys.within(-math.inf))), at_least_float(keys.cls)
        # Softmax does not change when all keys are shifted alike, so no gradient flows through the largest one.
        largest = torch.maximum(image_keys.detach().amax(1, keepdim=True), cls_keys.detach())
        image_weights, cls_weights = (image_keys - largest).exp(), (cls_keys - largest).exp()
        total = image_weights.sum(1, keepdim=True) + cls_weights
        summed = split_heads(image_weights).transpose(-2, -1) @ split_heads(at_least_float(pixels(values.image)))
        summed = summed + split_heads(cls_weights).transpose(-2, -1) @ split_heads(at_least_float(values.cls))
        return summed / split_heads(total).transpose(-2, -1)


def split_heads(tokens: Tensor) -> Tensor:
    """View (B, N, C) as (B, heads, N, C / heads)."""
    batch, count, channels = tokens.shape
    return tokens.view(batch, count, HEADS, channels // HEADS).transpose(1, 2)


def join_heads(tokens: Tensor) -> Tensor:
    """Turn (B, heads, N, d) back into (B, N, C)."""
    return tokens.transpose(1, 2).flatten(2)


def resize(tokens: Tokens, like: Tokens) -> Tensor:
    """Resize image tokens bilinearly to a map of another scale's size.

    In a padded batch the valid part of each image becomes its valid part at the other scale.
    """
    _, height, width = like.shape
    if tokens.valid is None or like.valid is None:
        return bilinear(tokens.image, (height, width))
    parts = []
    for image, (rows, columns), size in zip(tokens.image, tokens.valid.sizes, like.valid.sizes, strict=True):
        part = bilinear(image[None, :, :rows, :columns], size)
        parts.append(F.pad(part, (0, width - size[1], 0, height - size[0])))
    return torch.cat(parts).contiguous(memory_format=torch.channels_last)


def bilinear(image: Tensor, size: Size) -> Tensor:
    """Resize a map (B, C, h, w) to (height, width)."""
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


def drop_path(tokens: Tokens, rate: float) -> Tensor | None:
    """Draw the factor of each example's residual branch: 0, or the one that keeps the mean; None if the rate is 0.

    It is returned for every row of the tokens: (B * H * W + B, 1).
    """
    if rate == 0:
        return None
    batch, height, width = tokens.shape
    kept = tokens.rows.new_empty(batch, 1).bernoulli_(1 - rate) / (1 - rate)
    return torch.cat([kept.repeat_interleave(height * width, 0), kept])


def add(tokens: Tokens, branch: Tensor, kept: Tensor | None) -> Tokens:
    """Add a residual branch to the rows of tokens, each row scaled by its `kept`."""
    return tokens._replace(rows=tokens.rows + (branch if kept is None else branch * kept))
