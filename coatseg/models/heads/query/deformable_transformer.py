"""The transformer of Deformable DETR (Zhu et al., 2021): maps to queries, and of each query class logits and a box.

The layers are those of the transformers library, with the initial values and the dropout of the authors. Between them
stands what the library leaves out or computes twice: norms and places that know of padding, sampling at full speed on a
CPU, class layers of their own where boxes are refined, and a first stage whose outputs can be learnt from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from coatseg.models.heads.detection.base import in_float32
from coatseg.models.heads.query.canvases import Canvases, CanvasNorm, sine_embedding
from coatseg.models.heads.query.dropout import drop_outputs
from coatseg.models.heads.query.sampling import sample
from coatseg.models.heads.semantic.base import group_count
from coatseg.registry.options import OptionGroup, PositiveInt, Rate
from coatseg.structures import Size

PRIOR = -math.log((1 - 0.01) / 0.01)
"""The bias of class layers, by which every class starts at a probability of 0.01 (Lin et al., "Focal loss", 2017)."""
SMALL_BOX = -2.0
"""The bias of width and height where boxes start from points: 0.12 of the image."""
PROPOSAL_SIDE = 0.05
"""The side of proposals on the finest level as a share of the image; it doubles from level to level (appendix A.4)."""
MARGIN = 0.01
"""Proposals with a coordinate this near to 0 or 1 are none."""


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


class FirstStage(NamedTuple):
    """What the encoder's tokens propose: class logits (B, tokens, classes), boxes (B, tokens, 4), and which are real.

    `mask` (B, tokens) is false for padding, or None where there is none. Boxes are as those of Outputs.
    """

    logits: Tensor
    boxes: Tensor
    mask: Tensor | None


class Outputs(NamedTuple):
    """What the queries say after each decoder layer, in float32.

    logits (layers, B, Q, classes); boxes (layers, B, Q, 4), centre x, y, width and height as shares of each image's
    canvas; `first` are the proposals of two stages.
    """

    logits: Tensor
    boxes: Tensor
    first: FirstStage | None


class Sampling(nn.Module):
    """Sampling at full speed on a CPU; elsewhere, and in graphs that are exported, the library's own."""

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
        tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if value.device.type == "cpu" and not (tracing or torch.compiler.is_compiling()):
            return sample(value, shapes, places, weights)
        sums: Tensor = self.library(
            value.float(), spatial_shapes, shapes, starts, places.float(), weights.float(), step
        )
        return sums.to(value.dtype)


class DeformableTransformer(nn.Module):
    """Maps of `strides`, from fine to coarse, to Outputs; a level of twice the last stride is added by a convolution.

    Names of parameters below it are those of the library's model.
    """

    def __init__(self, channels: Sequence[int], classes: int, options: TransformerOptions) -> None:
        super().__init__()
        width, layers = options.width, options.decoder_layers
        self.options = options
        first, *others = _input_layers(channels, width)
        self.input_proj = nn.ModuleList([first, *others])
        self.level_embed = nn.Parameter(torch.empty(len(self.input_proj), width))
        self.encoder, self.decoder = _library_layers(options, len(self.input_proj))
        if options.two_stage:
            self.enc_output, self.enc_output_norm = nn.Linear(width, width), nn.LayerNorm(width)
            self.pos_trans, self.pos_trans_norm = nn.Linear(2 * width, 2 * width), nn.LayerNorm(2 * width)
        else:
            self.query_position_embeddings = nn.Embedding(options.queries, 2 * width)
            self.reference_points = nn.Linear(width, 2)
        count = layers + options.two_stage if options.refine else 1
        self.class_embed = nn.ModuleList(in_float32(nn.Linear(width, classes)) for _ in range(count))
        self.bbox_embed = nn.ModuleList(in_float32(_box_layers(width)) for _ in range(count))
        initialise(self)

    def forward(self, maps: Sequence[Tensor], canvases: Canvases) -> Outputs:
        """Return what the queries say of maps (B, C, h, w)."""
        memory, mask = self.encode(maps, canvases)
        hidden, positions, reference, first = self._queries(memory, mask, canvases)
        logits, boxes = [], []
        shares, spatial = canvases.shares(memory.device)[:, None], _spatial(canvases, memory.device)
        for number, layer in enumerate(self.decoder.layers):  # type: ignore[arg-type]
            places = reference[:, :, None] * shares.repeat(1, 1, 1, reference.shape[-1] // 2)
            hidden = layer(hidden, positions, places, spatial, canvases.shapes, None, memory, mask)
            head = number if self.options.refine else 0
            moved = self.bbox_embed[head](hidden)
            moved = moved + nn.functional.pad(_logit(reference), (0, 4 - reference.shape[-1]))
            logits.append(self.class_embed[head](hidden))
            boxes.append(moved.sigmoid())
            if self.options.refine:
                reference = boxes[-1].detach()
        return Outputs(torch.stack(logits), torch.stack(boxes), first)

    def encode(self, maps: Sequence[Tensor], canvases: Canvases) -> tuple[Tensor, Tensor | None]:
        """Return the encoder's tokens (B, tokens, width), and which of them are of an image, if not all."""
        device = maps[0].device
        sources = [self._project(level, features, canvases) for level, features in enumerate([*maps, maps[-1]])]
        tokens = torch.cat([source.flatten(2).transpose(1, 2) for source in sources], dim=1)
        mask, centres = canvases.mask(device), canvases.centres(device)
        levels = self.level_embed.repeat_interleave(
            torch.tensor(canvases.tokens, device=device), dim=0, output_size=sum(canvases.tokens)
        )
        positions = sine_embedding(centres.flip(-1), self.options.width // 2) + levels
        places = centres[:, :, None] * canvases.shares(device)[: len(centres), None]
        for layer in self.encoder.layers:  # type: ignore[union-attr]
            tokens = layer(tokens, mask, positions, places, _spatial(canvases, device), canvases.shapes)
        return tokens, mask

    def _project(self, level: int, features: Tensor, canvases: Canvases) -> Tensor:
        layers: Any = self.input_proj[level]
        convolution, norm = layers
        normed: Tensor = norm(convolution(features), canvases.pixels(level, features.device))
        return normed

    def _queries(
        self, memory: Tensor, mask: Tensor | None, canvases: Canvases
    ) -> tuple[Tensor, Tensor, Tensor, FirstStage | None]:
        """Return what queries start as: contents and positions (B, Q, width), points or boxes, and the first stage."""
        if not self.options.two_stage:
            learnt = self.query_position_embeddings.weight[None].expand(len(memory), -1, -1)
            positions, contents = learnt.chunk(2, dim=-1)
            return contents, positions, self.reference_points(positions).float().sigmoid(), None
        first, moved = self._first_stage(memory, mask, canvases)
        scores = first.logits[..., 0].detach()
        scores = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        chosen = scores.topk(min(self.options.queries, canvases.fewest_tokens), dim=1).indices
        boxes = moved.detach().gather(1, chosen[..., None].expand(-1, -1, 4)).sigmoid()
        embedded = sine_embedding(boxes, self.options.width // 2)
        positions, contents = self.pos_trans_norm(self.pos_trans(embedded)).chunk(2, dim=-1)
        return contents, positions, boxes, first

    def _first_stage(self, memory: Tensor, mask: Tensor | None, canvases: Canvases) -> tuple[FirstStage, Tensor]:
        """Return what tokens propose, and the logits of their boxes, which are infinite where there is no proposal."""
        proposals = _proposals(canvases, memory.device)
        inside = ((proposals > MARGIN) & (proposals < 1 - MARGIN)).all(-1, keepdim=True)
        inside = inside if mask is None else inside & mask[..., None]
        logits = torch.where(inside, _logit(proposals, 0.0), torch.inf)
        tokens = self.enc_output_norm(self.enc_output(torch.where(inside, memory, 0.0)))
        moved = self.bbox_embed[-1](tokens) + logits
        return FirstStage(self.class_embed[-1](tokens), moved.sigmoid(), mask), moved


def _proposals(canvases: Canvases, device: torch.device) -> Tensor:
    """Return a box at every token (B or 1, tokens, 4): centre, width and height as shares of the image's canvas."""
    centres = canvases.centres(device)
    sides = torch.tensor([PROPOSAL_SIDE * 2**level for level in range(len(canvases.shapes))], device=device)
    sides = sides.repeat_interleave(torch.tensor(canvases.tokens, device=device))
    return torch.cat([centres, sides[None, :, None].expand(len(centres), -1, 2)], dim=-1)


def _spatial(canvases: Canvases, device: torch.device) -> Tensor:
    return torch.tensor(canvases.shapes, dtype=torch.int64, device=device)


def _logit(shares: Tensor, least: float = 1e-5) -> Tensor:
    """Return the inverse of the sigmoid; nothing is nearer to 0 or 1 than `least`."""
    return (shares.clamp(min=least) / (1 - shares).clamp(min=least)).log()


def _input_layers(channels: Sequence[int], width: int) -> list[nn.Sequential]:
    """Return a convolution and a norm for each map, and for a coarser one that is made of the last."""
    kernels = [(count, {"kernel_size": 1}) for count in channels]
    kernels.append((channels[-1], {"kernel_size": 3, "stride": 2, "padding": 1}))
    return [
        nn.Sequential(nn.Conv2d(count, width, **kernel), CanvasNorm(group_count(width), width))  # type: ignore[arg-type]
        for count, kernel in kernels
    ]


def _box_layers(width: int) -> nn.Module:
    from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrMLPPredictionHead

    layers: nn.Module = DeformableDetrMLPPredictionHead(width, width, 4, 3)
    return layers


def _library_layers(options: TransformerOptions, levels: int) -> tuple[nn.ModuleDict, nn.ModuleDict]:
    """Return the library's encoder and decoder layers, with dropout where the authors have it."""
    from transformers import DeformableDetrConfig
    from transformers.models.deformable_detr.modeling_deformable_detr import (
        DeformableDetrDecoderLayer,
        DeformableDetrEncoderLayer,
    )

    config: Any = DeformableDetrConfig(
        d_model=options.width,
        encoder_attention_heads=options.heads,
        decoder_attention_heads=options.heads,
        encoder_ffn_dim=options.feedforward,
        decoder_ffn_dim=options.feedforward,
        encoder_n_points=options.points,
        decoder_n_points=options.points,
        num_feature_levels=levels,
        dropout=0.0,  # by drop_outputs
        attention_dropout=options.dropout,
        attn_implementation="sdpa",
    )
    encoder = nn.ModuleList(DeformableDetrEncoderLayer(config) for _ in range(options.encoder_layers))
    decoder = nn.ModuleList(DeformableDetrDecoderLayer(config) for _ in range(options.decoder_layers))
    layers: list[Any] = [*encoder, *decoder]
    for layer in layers:
        attention = layer.encoder_attn if hasattr(layer, "encoder_attn") else layer.self_attn
        attention.attn = Sampling(attention.attn)
        last = [] if attention is layer.self_attn else [layer.self_attn.o_proj]
        for module in (attention.output_proj, layer.mlp.activation_fn, layer.mlp.fc2, *last):
            drop_outputs(module, options.dropout)
    return nn.ModuleDict({"layers": encoder}), nn.ModuleDict({"layers": decoder})


@torch.no_grad()
def initialise(transformer: DeformableTransformer) -> None:
    """Give all parameters the values that the authors' code starts from."""
    options, network = transformer.options, cast(Any, transformer)  # whose layers are the library's
    for part in (transformer.encoder, transformer.decoder):
        for parameter in part.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
    for layer in network.encoder.layers:
        _initialise_sampling(layer.self_attn)
    for layer in network.decoder.layers:
        _initialise_sampling(layer.encoder_attn)
        _initialise_attention(layer.self_attn)
    for convolution, _ in network.input_proj:
        _xavier(convolution)
    nn.init.normal_(transformer.level_embed)
    if options.two_stage:
        nn.init.xavier_uniform_(transformer.enc_output.weight)
        nn.init.xavier_uniform_(transformer.pos_trans.weight)
    else:
        _xavier(transformer.reference_points)
    for layer in network.class_embed:
        nn.init.constant_(layer.bias, PRIOR)
    for layer in network.bbox_embed:
        nn.init.zeros_(layer.layers[-1].weight)
        nn.init.zeros_(layer.layers[-1].bias)
    if not options.two_stage:
        nn.init.constant_(network.bbox_embed[0].layers[-1].bias[2:], SMALL_BOX)


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
