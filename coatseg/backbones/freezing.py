"""Freezing the first stages of a backbone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from annotated_types import Ge, Le
from torch import nn

Stages = Annotated[int, Ge(0), Le(4)]
"""How many stages are frozen, from the image on: each ends with one of the four maps."""


class Freezable(nn.Module):
    """A module whose frozen parts stay in evaluation mode while the rest trains.

    A part is frozen if it has parameters and none of them is trained. Its batch norms then keep their statistics, and
    nothing in it is dropped.
    """

    def freeze(self, parameters: Iterable[nn.Parameter]) -> None:
        """Train these parameters no longer."""
        for parameter in parameters:
            parameter.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of what is not frozen."""
        super().train(mode)
        for part in self.modules():
            parameters = list(part.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                for inner in part.modules():
                    inner.training = False
        return self
