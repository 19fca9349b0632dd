"""Freeze the first stages of a backbone, and find the parameters that no output depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Self

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

Stages = Annotated[int, Ge(0), Le(4)]
"""How many stages are frozen, counted from the image; each ends with one of the four maps."""


class Freezable(nn.Module):
    """A module whose frozen parts stay in evaluation mode while the rest trains.

    A part is frozen if it has parameters and none of them is trained. Its batch norms then keep their statistics, and
    nothing in it is dropped.
    """

    def freeze(self, parameters: Iterable[nn.Parameter]) -> None:
        """Exclude these parameters from training."""
        for parameter in parameters:
            parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode for all parts that are not frozen."""
        super().train(mode)
        for part in self.modules():
            parameters = list(part.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                for inner in part.modules():
                    inner.training = False
        return self


@contextmanager
def at_rest(module: nn.Module) -> Iterator[None]:
    """Keep a module in evaluation mode, with gradients enabled, during the context; then restore each part's mode."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def without_use(parameters: Sequence[nn.Parameter], outputs: Sequence[Tensor]) -> list[nn.Parameter]:
    """Return those of the given trainable parameters that no output depends on."""
    if not any(output.requires_grad for output in outputs):
        return list(parameters)
    total = torch.stack([output.sum() for output in outputs]).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return [parameter for parameter, gradient in zip(parameters, gradients, strict=True) if gradient is None]
