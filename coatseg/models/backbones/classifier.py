"""CoaT as the classifier of ImageNet that its authors trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from coatseg.models.backbones.blocks import CO_SCALES
from coatseg.models.backbones.coat import STAGES, Encoder, initialize
from coatseg.models.backbones.variants import Variant, find_variant
from coatseg.models.weights import files
from coatseg.structures import Size


class CoaTClassifier(Encoder):
    """The paper's classifier, which maps class tokens to logits; parameters have the names of the authors' files.

    It has a norm for every stage, as these files do, though CoaT-Lite uses only the last and CoaT the last three.
    """

    def __init__(self, variant: Variant, num_classes: int = 1000) -> None:
        super().__init__(variant)
        for stage, width in zip(STAGES, variant.channels, strict=True):
            self.add_module(f"norm{stage}", nn.LayerNorm(width, eps=1e-6))
        if not variant.lite:
            self.aggregate = nn.Conv1d(len(CO_SCALES), 1, kernel_size=1)
        self.head = nn.Linear(variant.channels[-1], num_classes)
        initialize(self.head)

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> Tensor:
        """Map (B, 3, H, W) images to (B, num_classes) logits; `sizes` as in CoaT.forward."""
        scales = self.encode(images, sizes)
        used = STAGES[3:] if self.variant.lite else CO_SCALES
        cls = torch.cat([getattr(self, f"norm{scale}")(scales[scale - 1].cls) for scale in used], dim=1)
        logits: Tensor = self.head(cls[:, 0] if self.variant.lite else self.aggregate(cls)[:, 0])
        return logits


def create_classifier(name: str, *, pretrained: bool | str | Path = False, num_classes: int = 1000) -> CoaTClassifier:
    """Make the classifier of a variant; `pretrained` as for `create_backbone`."""
    model = CoaTClassifier(find_variant(name), num_classes)
    files.load_pretrained(model, name, pretrained)
    return model
