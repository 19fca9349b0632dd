"""The conv-attentional module of CoaT: attention linear in the number of tokens, with positions from convolutions.

Xu et al., "Co-Scale Conv-Attentional Image Transformers", ICCV 2021, section 3.

Tokens are kept as a channels-last map and a separate class token. Seen as (B, H * W, C) such a map is the paper's
sequence of image tokens without a copy, and seen as (B, C, H, W) it is what convolutions want.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from coatseg.backbones.padding import Valid
from coatseg.structures import Size

HEADS = 8
CRPE_WINDOWS = {3: 2, 5: 3, 7: 3}  # window size: how many of the heads look through it


class Tokens(NamedTuple):
    """The tokens of one scale: `image` (B, C, H, W) in channels-last memory, `cls` (B, 1, C).

    `valid` is the part of the image tokens that is no padding; None if all are. What the others hold means nothing:
    whatever looks beyond one token takes them from `within`.
    """

    image: Tensor
    cls: Tensor
    valid: Valid | None = None

    def __add__(self, other: Tokens) -> Tokens:  # type: ignore[override]  # a tuple's + would append
        return Tokens(self.image + other.image, self.cls + other.cls, self.valid)

    def within(self, beyond: float = 0.0) -> Tensor:
        """Give the image tokens, with a constant in place of the padding."""
        return self.image if self.valid is None else self.valid.keep(self.image, beyond)


class QueriesKeysValues(NamedTuple):
    """What attention works on, each with the channels of its scale."""

    queries: Tokens
    keys: Tokens
    values: Tokens


class Attention(nn.Module):
    """Factorized attention with convolutional relative position encoding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, tokens: Tokens, crpe: RelativePositionEncoding | None) -> Tokens:
        """Attend within one scale: tokens of C channels in and out."""
        return self.mix(attend(*self.project(tokens), crpe))

    def project(self, tokens: Tokens) -> QueriesKeysValues:
        """Give the queries, keys and values of tokens."""
        image, cls, _ = linear(self.qkv, tokens)
        parts = zip(image.chunk(3, dim=1), cls.chunk(3, dim=2), strict=True)
        return QueriesKeysValues(*(Tokens(*part, tokens.valid) for part in parts))

    def mix(self, tokens: Tokens) -> Tokens:
        """Mix the heads' outputs."""
        return linear(self.proj, tokens)


class PositionEncoding(nn.Module):
    """CPE: adds a depthwise convolution of the image tokens to them; the class token has no position."""

    def __init__(self, channels: int, window: int = 3) -> None:
        super().__init__()
        self.proj = depthwise(channels, window)

    def forward(self, tokens: Tokens) -> Tokens:
        """Encode tokens of one scale."""
        return tokens._replace(image=tokens.image + self.proj(tokens.within()))


class RelativePositionEncoding(nn.Module):
    """CRPE: each query times, channel by channel, a window-weighted sum of the values around it.

    One depthwise convolution for every window size, over the channels of the heads that look through it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = [channels // HEADS * heads for heads in CRPE_WINDOWS.values()]
        self.conv_list = nn.ModuleList(map(depthwise, self.channels, CRPE_WINDOWS))

    def forward(self, queries: Tensor, values: Tensor) -> Tensor:
        """Encode (B, C, H, W) queries and values as a map of the same size."""
        parts = torch.split(values, self.channels, dim=1)
        windows = torch.cat([conv(part) for conv, part in zip(self.conv_list, parts, strict=True)], dim=1)
        # As sequences: exporters derive spurious conditions from products of maps that are slices of a larger one.
        return as_map(pixels(queries) * pixels(windows), queries)


class MLP(nn.Module):
    """Two linear layers with GELU between, applied to every token alike."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, tokens: Tokens) -> Tokens:
        """Transform tokens, C channels in and out."""
        image, cls, _ = linear(self.fc1, tokens)
        return linear(self.fc2, tokens._replace(image=F.gelu(image), cls=F.gelu(cls)))


def attend(queries: Tokens, keys: Tokens, values: Tokens, crpe: RelativePositionEncoding | None) -> Tokens:
    """Conv-attention: factorized attention plus the relative position encoding of the image tokens."""
    attended = factorized_attention(queries, keys, values)
    if crpe is None:
        return attended
    return attended._replace(image=attended.image + crpe(queries.image, values.within()))


def factorized_attention(queries: Tokens, keys: Tokens, values: Tokens) -> Tokens:
    """Give Q / sqrt(d) (softmax(K)^T V), the softmax over all tokens, for every head.

    The product in brackets is a d x d matrix, so the cost is linear in the number of tokens.
    """
    context = summarize(keys, values)
    context = (context * context.shape[-1] ** -0.5).to(queries.image.dtype)
    image = join_heads(split_heads(pixels(queries.image)) @ context)
    return queries._replace(image=as_map(image, queries.image), cls=join_heads(split_heads(queries.cls) @ context))


def summarize(keys: Tokens, values: Tokens) -> Tensor:
    """Sum the values, weighted by the softmax of the keys over all tokens: (B, heads, d, d) float32.

    Whatever the precision of the model, this stays in float32 and is normalised last, on the small matrix: among the
    67,201 tokens of an 800x1344 image a weight is 1.5e-5 on average, below the smallest normal float16, and sums of
    unnormalised float16 values overflow.
    """
    with full_precision(keys.image.device):
        image_keys, cls_keys = pixels(keys.within(-math.inf)).float(), keys.cls.float()
        # Softmax does not change when all keys move by as much, so no gradient flows through the largest one.
        largest = torch.maximum(image_keys.detach().amax(1, keepdim=True), cls_keys.detach())
        image_weights, cls_weights = (image_keys - largest).exp(), (cls_keys - largest).exp()
        total = image_weights.sum(1, keepdim=True) + cls_weights
        summed = split_heads(image_weights).mT @ split_heads(pixels(values.image).float())
        summed = summed + split_heads(cls_weights).mT @ split_heads(values.cls.float())
        return summed / split_heads(total).mT


def pixels(image: Tensor) -> Tensor:
    """View a channels-last (B, C, H, W) map as (B, H * W, C) tokens."""
    return image.permute(0, 2, 3, 1).flatten(1, 2)


def as_map(tokens: Tensor, like: Tensor) -> Tensor:
    """View (B, H * W, C) tokens as a channels-last (B, C, H, W) map of the size of another."""
    batch, channels, height, width = like.shape
    return tokens.view(batch, height, width, channels).permute(0, 3, 1, 2)


def split_heads(tokens: Tensor) -> Tensor:
    """View (B, N, C) as (B, heads, N, C / heads)."""
    batch, count, channels = tokens.shape
    return tokens.view(batch, count, HEADS, channels // HEADS).transpose(1, 2)


def join_heads(tokens: Tensor) -> Tensor:
    """Turn (B, heads, N, d) back into (B, N, C)."""
    return tokens.transpose(1, 2).flatten(2)


def linear(layer: nn.Linear, tokens: Tokens) -> Tokens:
    """Apply a linear layer to every token: as a 1x1 convolution of the channels-last map where that is faster.

    On CPUs it takes half the time in float32: oneDNN's kernels against the BLAS that matrix products go to. With a
    single thread PyTorch passes 1x1 windows to oneDNN only if they are dilated, which changes nothing about one pixel.
    """
    image = tokens.image
    if convolves_faster(image):
        dilation = 2 if torch.get_num_threads() == 1 else 1
        mapped = F.conv2d(image, layer.weight[:, :, None, None], layer.bias, dilation=dilation)
    else:
        mapped = layer(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return tokens._replace(image=mapped, cls=layer(tokens.cls))


def convolves_faster(image: Tensor) -> bool:
    """Say whether PyTorch would take oneDNN for a convolution: it does from 20,480 numbers up.

    A compiled or exported graph chooses its own kernels, and must not depend on the size.
    """
    if torch.compiler.is_compiling() or image.device.type != "cpu" or image.dtype != torch.float32:
        return False
    return image.numel() > 20_480


def normalize(norm: nn.LayerNorm, tokens: Tokens) -> Tokens:
    """Apply a layer norm over the channels of every token."""
    image = norm(tokens.image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return tokens._replace(image=image, cls=norm(tokens.cls))


def resize(tokens: Tokens, like: Tokens) -> Tokens:
    """Resize image tokens bilinearly to the size of another scale's; the class token stays as it is.

    In a padded batch each image's valid part becomes its valid part at the other scale.
    """
    height, width = like.image.shape[-2:]
    if tokens.valid is None or like.valid is None:
        return tokens._replace(image=bilinear(tokens.image, (height, width)))
    parts = []
    for image, (rows, columns), size in zip(tokens.image, tokens.valid.sizes, like.valid.sizes, strict=True):
        part = bilinear(image[None, :, :rows, :columns], size)
        parts.append(F.pad(part, (0, width - size[1], 0, height - size[0])))
    return Tokens(torch.cat(parts).contiguous(memory_format=torch.channels_last), tokens.cls, like.valid)


def bilinear(image: Tensor, size: Size) -> Tensor:
    """Resize a map (B, C, h, w) to (height, width)."""
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


def drop_path(branch: Tokens, rate: float) -> Tokens:
    """Drop the whole residual branch of some examples, and scale that of the others to the same mean."""
    if rate == 0:
        return branch
    kept = torch.empty_like(branch.cls[:, :, :1]).bernoulli_(1 - rate) / (1 - rate)
    return branch._replace(image=branch.image * kept[..., None], cls=branch.cls * kept)


def depthwise(channels: int, window: int) -> nn.Conv2d:
    """Make a depthwise convolution that keeps the size."""
    return nn.Conv2d(channels, channels, window, padding=window // 2, groups=channels)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Give a context without autocast; outside of autocast it is empty, which keeps exported graphs plain."""
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
