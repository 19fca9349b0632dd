"""The computations of backbones/attention.py at full speed, for training and inference: less stored, less copied.

Each is an autograd function of tokenwise.py or spatial.py with a gradient of its own. It stores its inputs and small
statistics; norms, GELU, exponentials, hidden maps and position encodings, which are cheap to compute and large to
store, are computed again in the backward pass. Wide hidden maps exist for some rows at a time.

Under autocast, matrix products are in its precision and everything else in that of the rows; statistics and sums over
many tokens are in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coatseg.models.backbones.kernels.spatial import AddedConvolution, ConvAttention
from coatseg.models.backbones.kernels.tokenwise import AddedLinear, AddedMLP, NormedLinear
from coatseg.models.backbones.tokens import Tokens
from coatseg.models.precision import working_dtype

PLAIN_LAYERS = (nn.Linear, nn.LayerNorm, nn.Conv2d)


def applies(rows: Tensor, *layers: nn.Module) -> bool:
    """Return whether the functions here apply, which use the layers' weights and biases instead of calling the layers.

    They do not in graphs that are compiled, exported, traced or only counted, for a batch of no images, and for layers
    that are more than their parameters: adapters in their place, pruned or parametrised layers, and layers with hooks.
    """
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if torch.compiler.is_compiling() or tracing or rows.device.type == "meta" or len(rows) == 0:
        return False
    return all(map(is_plain, layers))


def is_plain(layer: nn.Module) -> bool:
    """Return whether a layer is one of torch's own, has a bias and has no hooks."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return type(layer) in PLAIN_LAYERS and layer.bias is not None and not any(hooks)


def parameters(*layers: nn.Module) -> list[Tensor]:
    """Return weight and bias of each layer, in order."""
    return [part for layer in layers for part in (layer.weight, layer.bias)]  # type: ignore[misc]


def linear(layer: nn.Linear, tokens: Tokens) -> Tokens:
    """Apply a linear layer to every token."""
    rows = tokens.rows
    return tokens._replace(rows=AddedLinear.apply(None, rows, None, working_dtype(rows), *parameters(layer)))


def add_linear(layer: nn.Linear, tokens: Tokens, branch: Tokens, kept: Tensor | None) -> Tokens:
    """Apply a linear layer to a branch and add it to the tokens, each row scaled by its `kept` (M, 1)."""
    dtype = working_dtype(branch.rows)
    return tokens._replace(rows=AddedLinear.apply(tokens.rows, branch.rows, kept, dtype, *parameters(layer)))


def normed_linear(norm: nn.LayerNorm, layer: nn.Linear, tokens: Tokens) -> Tokens:
    """Normalise tokens and apply a linear layer to them."""
    rows = tokens.rows
    return tokens._replace(rows=NormedLinear.apply(rows, working_dtype(rows), norm.eps, *parameters(norm, layer)))


def add_mlp(norm: nn.LayerNorm, wide: nn.Linear, narrow: nn.Linear, tokens: Tokens, kept: Tensor | None) -> Tokens:
    """Normalise tokens, apply an MLP and add its output to them, each row scaled by its `kept` (M, 1)."""
    rows = tokens.rows
    layers = parameters(norm, wide, narrow)
    return tokens._replace(rows=AddedMLP.apply(rows, kept, working_dtype(rows), norm.eps, *layers))


def add_convolution(tokens: Tokens, convolution: nn.Conv2d) -> Tokens:
    """Add to the image tokens their depthwise convolution."""
    return tokens._replace(
        rows=AddedConvolution.apply(tokens.rows, tokens.shape, tokens.valid, *parameters(convolution))
    )


def conv_attention(packed: Tokens, heads: int, windows: Sequence[nn.Conv2d]) -> Tokens:
    """Compute conv-attention from tokens of 3C channels, their queries, keys and values, to C channels.

    `windows` are the depthwise convolutions of the relative position encoding, each over the next group of the C
    channels; without any there is no such encoding.
    """
    channels = tuple(window.out_channels for window in windows)
    rows = ConvAttention.apply(packed.rows, packed.shape, packed.valid, heads, channels, *parameters(*windows))
    return packed._replace(rows=rows)
