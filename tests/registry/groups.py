"""A group of options whose types are known in this module only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coatseg.registry.options import OptionGroup

Kind = Literal["small", "large"]


@dataclass(frozen=True, kw_only=True)
class Elsewhere(OptionGroup):
    kind: Kind = "small"
