"""The sides of a comparison of backbones, and the work that each of them does.

Images are contiguous (B, 3, H, W) float32, as loaders return them, and each side chooses its own memory layout.
Gradients come in the layout of the maps that they are gradients of. Timm's model is made for this image size only:
`timm.create_model(name, img_size=SIZE, features_only=True)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import timm
import torch
from torch import Tensor, nn

import coatseg
from coatseg.models.weights.files import to_ours
from coatseg.structures import Size

OURS, CHECKPOINTING, PEER = "coatseg", "coatseg, checkpointing", "timm"

SIDES: dict[str, Callable[[str, Size], nn.Module]] = {
    OURS: lambda name, size: coatseg.create_backbone(name),
    CHECKPOINTING: lambda name, size: coatseg.create_backbone(name, checkpointing=True),
    PEER: lambda name, size: timm.create_model(name, img_size=size, features_only=True),
}
PRECISIONS = ("float32", "bf16")
"""The parameters are float32 in both; bf16 is torch.autocast to bfloat16."""


def precision(name: str) -> torch.autocast:
    """Return the autocast context in which a model is called."""
    return torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16")


def pair(name: str, size: Size) -> dict[str, nn.Module]:
    """Return coatseg's backbone and timm's of one variant, with the same random weights."""
    ours, theirs = SIDES[OURS](name, size), SIDES[PEER](name, size)
    state = to_ours({key.removeprefix("model."): value for key, value in theirs.state_dict().items()})
    missing = ours.load_state_dict(state, strict=False).missing_keys
    if missing:
        raise RuntimeError(f"timm's {name} lacks {', '.join(missing)}")
    return {OURS: ours, PEER: theirs}


def largest_difference(ours: nn.Module, theirs: nn.Module, images: Tensor) -> float:
    """Return the largest difference of their features, as a share of the largest magnitude in the map."""
    with torch.inference_mode():
        maps = zip(ours.eval()(images), theirs.eval()(images), strict=True)
        return max(float((mine - other).abs().max() / other.abs().max()) for mine, other in maps)


def forward(model: nn.Module, images: Tensor, at: str) -> Callable[[], object]:
    """Return a function that runs inference: images to four maps."""

    def work() -> object:
        with torch.inference_mode(), precision(at):
            return model.eval()(images)

    return work


def training_step(model: nn.Module, images: Tensor, at: str) -> Callable[[], object]:
    """Return a function that runs a training step: forward, and backward of fixed random gradients of the four maps."""
    gradients: list[Tensor] = []

    def work() -> None:
        model.train().zero_grad()
        with precision(at):
            maps: Sequence[Tensor] = model(images)
        if not gradients:
            gradients.extend(torch.randn_like(image) for image in maps)
        torch.autograd.backward(maps, gradients)

    return work


WORKS: dict[str, Callable[[nn.Module, Tensor, str], Callable[[], object]]] = {
    "forward": forward,
    "training step": training_step,
}
