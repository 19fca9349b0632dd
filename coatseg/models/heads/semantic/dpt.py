"""The head of DPT."""

from __future__ import annotations

from collections.abc import Sequence

from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder
from torch import Tensor, nn

from coatseg.models.heads.semantic.base import STRIDES, HeadNorm, SemanticHead, check_widths, smp_channels, with_norm
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, Rate
from coatseg.structures import Level


class Fusion(nn.Module):
    """smp's decoder of DPT, and the convolution before its classifier.

    There are no prefix tokens to read out: CoaT's maps have already been mixed with its class token.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.decoder = DPTDecoder(
            encoder_out_channels=channels,
            encoder_output_strides=STRIDES,
            encoder_has_prefix_tokens=False,
            readout="ignore",
            intermediate_channels=widths,
            fusion_channels=width,
        )
        self.convolve = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the (B, width, h, w) map at stride 2 for the list of an smp encoder."""
        pyramid = features[-len(STRIDES) :]
        fused: Tensor = self.convolve(self.decoder(pyramid, [None] * len(pyramid)))
        return fused


@register("head", "dpt")
def dpt(
    levels: Sequence[Level],
    classes: int,
    *,
    widths: tuple[PositiveInt, ...] = (96, 192, 384, 768),
    width: PositiveInt = 256,
    norm: HeadNorm = "group",
    dropout: Rate = 0.1,
) -> SemanticHead:
    """Build DPT's head (Ranftl et al., 2021): levels fused coarse to fine by residual convolutions; logits at stride 2.

    `widths` are the channels that the four levels, fine to coarse, are projected to, by default the paper's for
    ViT-Base; `width` is the number of channels of the fusion.
    """
    check_widths(widths, len(STRIDES), "DPT")
    decoder = Fusion(smp_channels(levels, "dpt")[-len(STRIDES) :], widths, width)
    return SemanticHead(with_norm(decoder, norm), width, classes, dropout=dropout)
