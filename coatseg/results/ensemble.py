"""Several models as one: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from coatseg.inference.augment import Activation
from coatseg.structures import Outputs, Size


class MeanModel(nn.Module):
    """Several models as one, whose logits are those of the mean of their probabilities."""

    def __init__(self, models: Sequence[nn.Module], activation: Activation) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.activation = activation

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> Outputs:
        """Predict images (B, C, H, W), whose valid sizes are `sizes` where they are padded."""
        total: Tensor | None = None
        for model in self.models:
            shares = self.activation.probabilities(model(images, sizes).logits)
            total = shares if total is None else total + shares
        assert total is not None
        return Outputs(self.activation.logits(total / len(self.models)))
