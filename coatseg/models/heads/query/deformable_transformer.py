"""The transformer of Deformable DETR (Zhu et al., 2021): maps to queries, and of each query class logits and a box.

The layers are those of the transformers library (deformable_layers.py). Between them stands what the library leaves out
or computes twice: norms and places that know of padding, class layers of their own where boxes are refined, and a first
stage whose outputs can be learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from coatseg.models.heads.detection.base import in_float32
from coatseg.models.heads.query.canvases import Canvases, sine_embedding
from coatseg.models.heads.query.deformable_layers import (
    TransformerOptions,
    box_layers,
    initialise,
    input_layers,
    library_layers,
)

PROPOSAL_SIDE = 0.05
"""The side of proposals on the finest level as a share of the image; it doubles from level to level (appendix A.4)."""
MARGIN = 0.01
"""Proposals with a coordinate this near to 0 or 1 are none."""


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


class DeformableTransformer(nn.Module):
    """Maps of `strides`, from fine to coarse, to Outputs; a level of twice the last stride is added by a convolution.

    Names of parameters below it are those of the library's model.
    """

    def __init__(self, channels: Sequence[int], classes: int, options: TransformerOptions) -> None:
        super().__init__()
        width, layers = options.width, options.decoder_layers
        self.options = options
        self.input_proj = nn.ModuleList(input_layers(channels, width))
        self.level_embed = nn.Parameter(torch.empty(len(self.input_proj), width))
        self.encoder, self.decoder = library_layers(options, len(self.input_proj))
        if options.two_stage:
            self.enc_output, self.enc_output_norm = nn.Linear(width, width), nn.LayerNorm(width)
            self.pos_trans, self.pos_trans_norm = nn.Linear(2 * width, 2 * width), nn.LayerNorm(2 * width)
        else:
            self.query_position_embeddings = nn.Embedding(options.queries, 2 * width)
            self.reference_points = nn.Linear(width, 2)
        count = layers + options.two_stage if options.refine else 1
        self.class_embed = nn.ModuleList(in_float32(nn.Linear(width, classes)) for _ in range(count))
        self.bbox_embed = nn.ModuleList(in_float32(box_layers(width)) for _ in range(count))
        initialise(self, options)

    def forward(self, maps: Sequence[Tensor], canvases: Canvases) -> Outputs:
        """Return what the queries say of maps (B, C, h, w)."""
        memory, mask = self.encode(maps, canvases)
        hidden, positions, reference, first = self._queries(memory, mask, canvases)
        logits, boxes = [], []
        shares, spatial = canvases.shares(memory.device)[:, None], _spatial(canvases, memory.device)
        layers: Any = self.decoder["layers"]
        for number, layer in enumerate(layers):
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
        level_of = self.level_embed.repeat_interleave(
            torch.tensor(canvases.tokens, device=device), dim=0, output_size=sum(canvases.tokens)
        )
        positions = sine_embedding(centres.flip(-1), self.options.width // 2) + level_of
        places = centres[:, :, None] * canvases.shares(device)[: len(centres), None]
        layers: Any = self.encoder["layers"]
        for layer in layers:
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
