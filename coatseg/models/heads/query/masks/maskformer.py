"""The pixel decoder and the decoder of queries of MaskFormer, of transformers' modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MaskFormerConfig
from transformers.models.maskformer.modeling_maskformer import (
    MaskformerMLPPredictionHead,
    MaskFormerPixelDecoder,
    MaskFormerPreTrainedModel,
    MaskFormerTransformerModule,
)

from coatseg.models.heads.detection.base import in_float32
from coatseg.models.heads.query.masks.head import MaskDecoder
from coatseg.models.heads.query.masks.losses import Predictions
from coatseg.models.heads.query.masks.pixel_decoder import positions_of
from coatseg.models.heads.semantic.base import group_count


class _Initialised(MaskFormerPreTrainedModel):  # type: ignore[misc]
    """The modules as transformers initialises them."""

    def __init__(self, config: MaskFormerConfig, channels: Sequence[int]) -> None:
        super().__init__(config)
        width = config.decoder_config.hidden_size
        self.pixels = MaskFormerPixelDecoder(
            in_features=channels[-1],
            feature_size=config.fpn_feature_size,
            mask_feature_size=config.mask_feature_size,
            lateral_widths=list(channels[:-1]),
        )
        self.queries = MaskFormerTransformerModule(channels[-1], config)
        self.classes = nn.Linear(width, config.num_labels + 1)
        self.embedder = MaskformerMLPPredictionHead(width, width, config.mask_feature_size)
        self.post_init()


class MaskFormerDecoder(MaskDecoder):
    """MaskFormer (Cheng et al., 2021) on the levels of strides 4, 8, 16 and 32.

    A feature pyramid makes the pixels, and queries look at the coarsest level as a whole.
    """

    strides = (4, 8, 16)

    def __init__(self, channels: Sequence[int], config: MaskFormerConfig) -> None:
        super().__init__()
        made = _Initialised(config, channels)
        self.pixels, self.queries = made.pixels, made.queries
        self.classes, self.embedder = in_float32(made.classes), in_float32(made.embedder)
        for norm in self.pixels.modules():
            if isinstance(norm, nn.GroupNorm):
                norm.num_groups = group_count(norm.num_channels)
        in_float32(self.pixels.mask_projection)

    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the pixels that masks are made of, at stride 4, and the coarser maps of the feature pyramid."""
        decoded = self.pixels(list(pyramid), output_hidden_states=True)
        return [decoded.last_hidden_state, *reversed(decoded.hidden_states[:-1])]

    def forward(self, pyramid: Sequence[Tensor], every_layer: bool) -> Predictions:
        """Return the predictions of every layer, or of the last one."""
        queries: Any = self.queries
        pixels, coarse = self.maps(pyramid)[0], pyramid[-1]
        if queries.input_projection is not None:
            coarse = queries.input_projection(coarse)
        memory, places = coarse.flatten(2).transpose(1, 2), positions_of(coarse)
        asked = queries.queries_embedder.weight.expand(coarse.shape[0], -1, -1)
        states, shown = torch.zeros_like(asked), []
        for layer in queries.decoder.layers:
            states = layer(states, None, places, asked, memory)
            shown.append(queries.decoder.layernorm(states))
        seen = torch.stack(shown if every_layer else shown[-1:])
        return Predictions(self.classes(seen), self.embedder(seen), pixels)
