"""Maps of classes beside maps of objects: in the colours of a classes file, or numbers from 1 on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from coatseg.data.annotations.classes import read_classes
from coatseg.data.annotations.numbered_objects import IGNORED, STRANGE
from coatseg.data.images.reading import ColourMasks, read_label_map
from coatseg.errors import DatasetError
from coatseg.structures import IGNORE_INDEX, Colour, Pixels

BLACK: Colour = (0, 0, 0)
BACKGROUNDS = frozenset({"background", "_background_"})


@dataclass(frozen=True)
class ClassMaps:
    """Reads maps of the classes `names` as (H, W) int32: labels, IGNORED where none is known, STRANGE for background.

    With `colours` they are pictures in these; else they hold 0 for background, 1 for the first class, and 255 where
    nothing is known.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...] = ()
    colours: ColourMasks | None = None

    def __call__(self, path: Path) -> Pixels:
        """Read one map.

        Raises:
            ImageError: it cannot be read.
            DatasetError: a colour or number in it is of no class.
        """
        if self.colours is not None:
            return self.colours(path)
        numbers = read_label_map(path)
        labels = numbers.astype(np.int32) - 1
        labels[numbers == IGNORE_INDEX] = IGNORED
        labels[numbers == 0] = STRANGE
        if (labels >= len(self.names)).any():
            raise DatasetError(
                f"{path} holds the number {numbers.max(where=numbers != IGNORE_INDEX, initial=0)}, which is no class.",
                f"With {len(self.names)} classes a map of classes has 1 to {len(self.names)}, 0 for background, and "
                f"{IGNORE_INDEX} for pixels to leave out.",
            )
        return labels


def class_maps(classes: str | Sequence[str], root: Path) -> ClassMaps:
    """Return the reader of maps of classes: those listed, or those that a file below `root` gives colours.

    Raises:
        DatasetError: the file is missing, damaged, or has no colours.
    """
    if not isinstance(classes, str):
        return ClassMaps(tuple(classes))
    read = read_classes(root / classes)
    try:
        pictures = read.colour_masks(root / classes, IGNORED)
    except DatasetError as error:
        raise DatasetError(
            f"{root / classes} has no colours, by which maps of classes are read.", error.mend
        ) from error
    entries = list(zip(read.names, read.colours, strict=True))
    kept = [(name, colour) for name, colour in entries if name.lower() not in BACKGROUNDS and colour != BLACK]
    known = {BLACK: STRANGE, **dict.fromkeys(read.colours, STRANGE), **dict.fromkeys(read.ignored, IGNORED)}
    known |= {colour: label for label, (_, colour) in enumerate(kept)}
    names, palette = zip(*kept, strict=True) if kept else ((), ())
    return ClassMaps(names, palette, replace(pictures, colours=tuple(known.items())))
