"""Predictions that are no numbers: never scored, whatever would be made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from coatseg.errors import ImageError


def not_finite(image_id: str) -> ImageError:
    """Return the error for an image for which a model gives nan or infinity."""
    return ImageError(f"{image_id}: what the model gives is not finite.", "Look at its weights, and at the precision.")


@contextmanager
def finite_outputs(model: nn.Module, image_ids: Sequence[str]) -> Iterator[None]:
    """Watch the predicting layers of a detector, which would drop boxes whose score is no number in silence.

    They are those that say `predicts` (see in_float32); a model without any passes.

    Raises:
        ImageError: at the end, if one of them gave nan or infinity for these images.
    """
    broken: list[Tensor] = []

    def note(module: nn.Module, inputs: Any, outputs: Any) -> None:
        tensors = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
        broken.extend(~tensor.isfinite().all() for tensor in tensors)

    watched = [module for module in model.modules() if getattr(module, "predicts", False)]
    hooks = [module.register_forward_hook(note) for module in watched]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    if broken and bool(torch.stack(broken).any()):
        raise not_finite(", ".join(image_ids))
