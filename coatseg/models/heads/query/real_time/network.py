"""RT-DETRv2 from a pyramid to queries: transformers' hybrid encoder and decoder, and what chooses queries between them.

Lv et al., "RT-DETRv2", 2024; Zhao et al., "DETRs beat YOLOs on real-time object detection" (RT-DETR), 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import RTDetrV2Config
from transformers.models.rt_detr_v2.modeling_rt_detr_v2 import (
    RTDetrV2Decoder,
    RTDetrV2HybridEncoder,
    RTDetrV2MLPPredictionHead,
    RTDetrV2MultiscaleDeformableAttention,
)

from coatseg.errors import ConfigError
from coatseg.models.heads.detection.base import in_float32
from coatseg.models.heads.query.box_losses import Guesses
from coatseg.models.heads.query.highest import highest
from coatseg.models.heads.query.real_time.denoising import Denoising, Noisy
from coatseg.models.heads.query.real_time.options import RTDETROptions
from coatseg.models.heads.semantic.base import HeadNorm, with_norm
from coatseg.structures import Level, Size

ANCHOR = 0.05
"""The side of a first box on the finest map, a share of the image's; it doubles from map to map (authors' code)."""
PRIOR = 0.01
"""The score of every class before training (focal loss, Lin et al., 2017, section 3.3)."""


class Outputs(NamedTuple):
    """What queries say: as they were chosen, and after each of the decoder's layers; so do noisy queries, if any.

    Boxes are centre x, y, width and height as shares of the image with its padding; all is float32.
    """

    proposals: Guesses
    layers: list[Guesses]
    noisy: list[Guesses]


class HybridMaps(nn.Module):
    """The hybrid encoder: attention on the coarsest map, convolutions across scales, projections before and after."""

    def __init__(self, channels: Sequence[int], config: RTDetrV2Config, norm: HeadNorm) -> None:
        super().__init__()
        width = config.d_model
        self.into = nn.ModuleList(_projection(count, width) for count in channels)
        self.encoder = RTDetrV2HybridEncoder(config)
        out = [_projection(width, width) for _ in channels]
        reset(self.encoder)
        for convolution, _ in out:
            _xavier(convolution)
        self.out = nn.ModuleList(out)
        with_norm(self, norm)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map each of the maps (B, C, h, w) to one of `width` channels."""
        projected = [project(features) for project, features in zip(self.into, maps, strict=True)]
        mixed = self.encoder(projected).last_hidden_state
        return [project(features) for project, features in zip(self.out, mixed, strict=True)]


class Network(nn.Module):
    """Maps of the encoder to queries: each position proposes a box, the best are refined by the decoder's layers."""

    def __init__(self, levels: Sequence[Level], classes: int, options: RTDETROptions) -> None:
        super().__init__()
        config = configured(levels, classes, options)
        width, layers = options.width, options.decoder_layers
        self.queries = options.queries
        self.encode = HybridMaps([level.channels for level in levels], config, options.norm)
        self.denoising = Denoising(classes, config) if config.num_denoising else None
        self.propose = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width))
        _xavier(self.propose[0])
        self.first_classes, self.first_boxes = _class_head(width, classes), _box_head(width)
        self.decoder = RTDetrV2Decoder(config)
        reset(self.decoder)
        for layer in self.decoder.query_pos_head.modules():
            if isinstance(layer, nn.Linear):
                _xavier(layer)
        # Unused; without it transformers warns whoever looks at every attribute, as tracing does.
        self.encode.encoder.loss_type = self.decoder.loss_type = "RTDetrV2ForObjectDetection"
        self.decoder.class_embed = nn.ModuleList(_class_head(width, classes) for _ in range(layers))
        self.decoder.bbox_embed = nn.ModuleList(_box_head(width) for _ in range(layers))

    def forward(self, maps: Sequence[Tensor], noisy: Noisy | None = None) -> Outputs:
        """Return what the queries of maps (B, width, h, w) say, and the `noisy` ones beside them."""
        sizes: list[Size] = [(features.shape[-2], features.shape[-1]) for features in maps]
        tokens = torch.cat([features.flatten(2).transpose(1, 2) for features in maps], dim=1)
        proposals = self.propose(tokens)
        logits = self.first_classes(proposals)
        _, chosen = highest(logits.amax(-1), self.queries)
        anchors = torch.cat([_anchors(size, level) for level, size in enumerate(sizes)]).to(logits.device)
        proposals, first = _rows(proposals, chosen), _rows(logits, chosen)
        references = self.first_boxes(proposals) + torch.logit(anchors)[chosen]
        content, given, mask = proposals.detach(), references.detach(), None
        if noisy is not None:
            content = torch.cat([noisy.content.to(content.dtype), content], dim=1)
            given, mask = torch.cat([noisy.references, given], dim=1), noisy.mask(chosen.shape[1])
        decoded = self.decoder(
            inputs_embeds=content,
            encoder_hidden_states=tokens,
            encoder_attention_mask=mask,
            reference_points=given,
            spatial_shapes=torch.tensor(sizes, device=tokens.device),
            spatial_shapes_list=sizes,
        )
        count = 0 if noisy is None else noisy.content.shape[1]
        layers = list(
            zip(decoded.intermediate_logits.unbind(1), decoded.intermediate_reference_points.unbind(1), strict=True)
        )
        return Outputs(
            Guesses(first, references.sigmoid()),
            [Guesses(logits[:, count:], boxes[:, count:]) for logits, boxes in layers],
            [Guesses(logits[:, :count], boxes[:, :count]) for logits, boxes in layers] if count else [],
        )


def configured(levels: Sequence[Level], classes: int, options: RTDETROptions) -> RTDetrV2Config:
    """Return what transformers calls the options.

    Raises:
        ConfigError: a width that the heads of attention or the encoding of positions do not divide.
    """
    if options.width % options.heads or options.width % 4:
        raise ConfigError(
            f"head.width={options.width} is no multiple of 4 and of head.heads={options.heads}.",
            f"Set head.width={options.heads * 32}.",
        )
    if options.width * options.expansion < 1:
        raise ConfigError(
            f"head.expansion={options.expansion:g} of head.width={options.width} leaves no channel.",
            "Set head.expansion=0.5 or more.",
        )
    count, width = len(levels), options.width
    return RTDetrV2Config(
        num_labels=classes,
        encoder_in_channels=[level.channels for level in levels],
        feat_strides=[level.stride for level in levels],
        encode_proj_layers=[count - 1],
        encoder_hidden_dim=width,
        encoder_ffn_dim=options.feedforward,
        encoder_attention_heads=options.heads,
        hidden_expansion=options.expansion,
        d_model=width,
        decoder_in_channels=[width] * count,
        num_feature_levels=count,
        decoder_n_levels=count,
        decoder_layers=options.decoder_layers,
        decoder_ffn_dim=options.feedforward,
        decoder_attention_heads=options.heads,
        num_queries=options.queries,
        num_denoising=options.denoising,
    )


def reset(module: nn.Module) -> None:
    """Start a part of transformers' as the authors' code does, by PyTorch's own initialisation of its layers.

    transformers draws every weight with a deviation of 0.01, those of batch norms too, around 0; nothing is learnt from
    that for a long time. Its deformable attention starts as the paper has it and is left so.
    """
    for child in module.children():
        if isinstance(child, RTDetrV2MultiscaleDeformableAttention):
            continue
        if callable(again := getattr(child, "reset_parameters", None)):
            again()
        reset(child)


def _xavier(layer: Any) -> None:
    nn.init.xavier_uniform_(layer.weight)


def _projection(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, kernel_size=1, bias=False), nn.BatchNorm2d(width))


def _class_head(width: int, classes: int) -> nn.Module:
    head = nn.Linear(width, classes)
    nn.init.constant_(head.bias, math.log(PRIOR / (1 - PRIOR)))
    return in_float32(head)


def _box_head(width: int) -> nn.Module:
    """Make the layers that move a box, at first by nothing."""
    head = RTDetrV2MLPPredictionHead(width, width, 4, num_layers=3)
    nn.init.zeros_(head.layers[-1].weight)
    nn.init.zeros_(head.layers[-1].bias)
    return in_float32(head)


def _anchors(size: Size, level: int) -> Tensor:
    """Return the first boxes (h * w, 4) float32 of a map's positions: their centres, and sides of ANCHOR * 2^level."""
    height, width = size
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    side = torch.full_like(x, ANCHOR * 2**level)
    return torch.stack([x, y, side, side], dim=-1).flatten(0, 1)


def _rows(tensor: Tensor, places: Tensor) -> Tensor:
    """Return the rows (B, Q, C) at places (B, Q) of a tensor (B, N, C)."""
    return tensor.gather(1, places[..., None].expand(-1, -1, tensor.shape[-1]))
