"""The layers of Deformable DETR: those of the transformers library, as its authors' code starts and drops values.

The library's sampling gives way to a faster one on a CPU, its dropout too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from coatseg.models.heads.query.canvases import CanvasNorm
from coatseg.models.heads.query.dropout import ATTENTION, DroppedReLU, drop_outputs, register_attention
from coatseg.models.heads.query.sampling import sample
from coatseg.models.heads.semantic.base import group_count
from coatseg.registry.options import OptionGroup, PositiveInt, Rate
from coatseg.structures import Size

PRIOR = -math.log((1 - 0.01) / 0.01)
"""The bias of class layers, by which every class starts at a probability of 0.01 (Lin et al., "Focal loss", 2017)."""
SMALL_BOX = -2.0
"""The bias of width and height where boxes start from points: 0.12 of the image."""


@dataclass(frozen=True, kw_only=True)
class TransformerOptions(OptionGroup):
    """The options of the transformer, the paper's by default.

    Each of `queries` finds at most one object. With `refine` every decoder layer moves the boxes of the one before it;
    `two_stage`, which takes that, starts them at the likeliest of the encoder's tokens instead of at learnt points, of
    which small images have fewer than queries. `points` are sampled by every one of `heads` on each level.
    """

    width: PositiveInt = 256
    heads: PositiveInt = 8
    points: PositiveInt = 4
    encoder_layers: PositiveInt = 6
    decoder_layers: PositiveInt = 6
    feedforward: PositiveInt = 1024
    queries: PositiveInt = 300
    dropout: Rate = 0.1
    refine: bool = False
    two_stage: bool = False


class Sampling(nn.Module):
    """Sampling at full speed on a CPU; elsewhere, and where a graph is compiled, the library's own."""

    def __init__(self, library: nn.Module) -> None:
        super().__init__()
        self.library = library

    def forward(
        self,
        value: Tensor,
        spatial_shapes: Tensor,
        shapes: Sequence[Size],
        starts: Tensor | None,
        places: Tensor,
        weights: Tensor,
        step: int,
    ) -> Tensor:
        """Return the weighted sums of values at places, (B, Q, width): see `sample`."""
        if value.device.type == "cpu" and not torch.compiler.is_compiling():
            return sample(value, shapes, places, weights)
        sums: Tensor = self.library(
            value.float(), spatial_shapes, shapes, starts, places.float(), weights.float(), step
        )
        return sums.to(value.dtype)


def input_layers(channels: Sequence[int], width: int) -> list[nn.Sequential]:
    """Return a convolution and a norm for each map, and for a coarser one that is made of the last."""
    kernels = [(count, {"kernel_size": 1}) for count in channels]
    kernels.append((channels[-1], {"kernel_size": 3, "stride": 2, "padding": 1}))
    return [
        nn.Sequential(nn.Conv2d(count, width, **kernel), CanvasNorm(group_count(width), width))  # type: ignore[arg-type]
        for count, kernel in kernels
    ]


def box_layers(width: int) -> nn.Module:
    """Return the three layers that predict a box."""
    from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrMLPPredictionHead

    layers: nn.Module = DeformableDetrMLPPredictionHead(width, width, 4, 3)
    return layers


def library_layers(options: TransformerOptions, levels: int) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """Return the library's encoder and decoder layers, with dropout where the authors have it."""
    from transformers import DeformableDetrConfig
    from transformers.models.deformable_detr.modeling_deformable_detr import (
        DeformableDetrDecoderLayer,
        DeformableDetrEncoderLayer,
    )

    register_attention()
    config: Any = DeformableDetrConfig(
        d_model=options.width,
        encoder_attention_heads=options.heads,
        decoder_attention_heads=options.heads,
        encoder_ffn_dim=options.feedforward,
        decoder_ffn_dim=options.feedforward,
        encoder_n_points=options.points,
        decoder_n_points=options.points,
        num_feature_levels=levels,
        dropout=0.0,  # by drop_outputs, as the library's is slower
        attention_dropout=options.dropout,
        attn_implementation=ATTENTION,
    )
    encoder = nn.ModuleList(DeformableDetrEncoderLayer(config) for _ in range(options.encoder_layers))
    decoder = nn.ModuleList(DeformableDetrDecoderLayer(config) for _ in range(options.decoder_layers))
    layers: list[Any] = [*encoder, *decoder]
    for layer in layers:
        attention = layer.encoder_attn if hasattr(layer, "encoder_attn") else layer.self_attn
        attention.attn = Sampling(attention.attn)
        last = [] if attention is layer.self_attn else [layer.self_attn.o_proj]
        layer.mlp.activation_fn = DroppedReLU(options.dropout)
        for module in (attention.output_proj, layer.mlp.fc2, *last):
            drop_outputs(module, options.dropout)
    return nn.ModuleDict({"layers": encoder}), nn.ModuleDict({"layers": decoder})


@torch.no_grad()
def initialise(transformer: Any, options: TransformerOptions) -> None:
    """Give the parameters of a DeformableTransformer the values that the authors' code starts from."""
    for part in (transformer.encoder, transformer.decoder):
        for parameter in part.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
    for layer in transformer.encoder["layers"]:
        _initialise_sampling(layer.self_attn)
    for layer in transformer.decoder["layers"]:
        _initialise_sampling(layer.encoder_attn)
        _initialise_attention(layer.self_attn)
    for convolution, _ in transformer.input_proj:
        _xavier(convolution)
    nn.init.normal_(transformer.level_embed)
    if options.two_stage:
        nn.init.xavier_uniform_(transformer.enc_output.weight)
        nn.init.xavier_uniform_(transformer.pos_trans.weight)
    else:
        _xavier(transformer.reference_points)
    for layer in transformer.class_embed:
        nn.init.constant_(layer.bias, PRIOR)
    for layer in transformer.bbox_embed:
        nn.init.zeros_(layer.layers[-1].weight)
        nn.init.zeros_(layer.layers[-1].bias)
    if not options.two_stage:
        nn.init.constant_(transformer.bbox_embed[0].layers[-1].bias[2:], SMALL_BOX)


def _xavier(layer: Any, gain: float = 1.0) -> None:
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.zeros_(layer.bias)


def _initialise_attention(attention: Any) -> None:
    """Start the projections as torch's MultiheadAttention does, which has queries, keys and values as one matrix."""
    for layer in (attention.q_proj, attention.k_proj, attention.v_proj):
        _xavier(layer, math.sqrt(0.5))  # the bound of a matrix of three times the rows
    nn.init.zeros_(attention.o_proj.bias)


def _initialise_sampling(attention: Any) -> None:
    """Start with points in as many directions as there are heads, the k-th point k pixels away (appendix A.4)."""
    angles = torch.arange(attention.n_heads) * (2 * math.pi / attention.n_heads)
    directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
    directions = directions / directions.abs().amax(-1, keepdim=True)
    steps = torch.arange(1, attention.n_points + 1)[:, None]
    offsets = (directions[:, None, None] * steps).expand(-1, attention.n_levels, -1, -1)
    nn.init.zeros_(attention.sampling_offsets.weight)
    attention.sampling_offsets.bias.copy_(offsets.flatten())
    nn.init.zeros_(attention.attention_weights.weight)
    nn.init.zeros_(attention.attention_weights.bias)
    _xavier(attention.value_proj)
    _xavier(attention.output_proj)
