"""The variants of CoaT: the rows of table 1 of the paper, by name."""

from __future__ import annotations

from dataclasses import dataclass

from coatseg.errors import ConfigError, nearest


@dataclass(frozen=True)
class Variant:
    """One row of the paper's table 1: for each stage the channels, the number of serial blocks and the MLP ratio."""

    channels: tuple[int, int, int, int]
    mlp_ratios: tuple[int, int, int, int]
    serial_depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    parallel_depth: int = 0
    input_size: int = 224  # side, in pixels, of the images that its weights were trained on

    @property
    def lite(self) -> bool:
        """Whether this is a CoaT-Lite, which has serial blocks only."""
        return self.parallel_depth == 0


VARIANTS: dict[str, Variant] = {
    "coat_tiny": Variant((152, 152, 152, 152), (4, 4, 4, 4), parallel_depth=6),
    "coat_mini": Variant((152, 216, 216, 216), (4, 4, 4, 4), parallel_depth=6),
    "coat_small": Variant((152, 320, 320, 320), (4, 4, 4, 4), parallel_depth=6),
    "coat_lite_tiny": Variant((64, 128, 256, 320), (8, 8, 4, 4)),
    "coat_lite_mini": Variant((64, 128, 320, 512), (8, 8, 4, 4)),
    "coat_lite_small": Variant((64, 128, 320, 512), (8, 8, 4, 4), (3, 4, 6, 3)),
    "coat_lite_medium": Variant((128, 256, 320, 512), (4, 4, 4, 4), (3, 6, 10, 8)),
    "coat_lite_medium_384": Variant((128, 256, 320, 512), (4, 4, 4, 4), (3, 6, 10, 8), input_size=384),
}


def find_variant(name: str) -> Variant:
    """Return the row of a variant's name; raises ConfigError, with the nearest name, if there is none."""
    if name not in VARIANTS:
        raise ConfigError(f"There is no CoaT variant {name!r}.", nearest(name, VARIANTS))
    return VARIANTS[name]
