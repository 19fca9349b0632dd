"""Label maps painted of objects: 0 is background, classes count from 1, and later objects lie over earlier ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from coatseg.data.annotations.objects import ObjectAnnotations
from coatseg.data.annotations.segmentations import painted
from coatseg.data.annotations.windowed_objects import runs_in
from coatseg.data.images.raster import Window
from coatseg.errors import ConfigError
from coatseg.structures import DatasetInfo, Pixels, Size

BACKGROUND = "background"


@dataclass(frozen=True)
class Painter:
    """Paints objects with `labels`, one for each of the classes that the objects have; `info` are the facts of maps."""

    info: DatasetInfo
    labels: tuple[int, ...]

    @classmethod
    def of(cls, info: DatasetInfo, special: Mapping[str, int]) -> Painter:
        """Number the classes of objects from 1, but for the `special` ones, whose pixels get the labels stated there.

        Raises:
            ConfigError: a class is called background, as label 0 is.
        """
        kept = [number for number, name in enumerate(info.classes) if name not in special]
        numbers = {number: label for label, number in enumerate(kept, 1)}
        names = (BACKGROUND, *(info.classes[number] for number in kept))
        if BACKGROUND in names[1:]:
            raise ConfigError(
                f"A class of {info.name} is called {BACKGROUND}, which is the name of label 0.",
                f"Leave its objects out with data.leave_out=[{BACKGROUND}]: they are background then.",
            )
        facts = replace(
            info,
            classes=names,
            palette=((0, 0, 0), *(info.palette[number] for number in kept)),
            annotates=frozenset({"semantic"}),
            things=(),
            category_ids=(),
        )
        labels = (numbers[place] if place in numbers else special[name] for place, name in enumerate(info.classes))
        return cls(facts, tuple(labels))

    def paint(self, objects: ObjectAnnotations, row: int, image: Size, window: Window) -> Pixels:
        """Paint the objects of image `row`, which has the size `image`, in a window of it.

        Returns (H, W) uint8, or int32 where labels need it.

        Raises:
            DatasetError: the run lengths of an object do not fill the image.
        """
        fits = len(self.info.classes) <= self.info.ignore_index
        label_map = np.zeros((window.height, window.width), np.uint8 if fits else np.int32)
        for place in range(objects.begins[row], objects.begins[row + 1]):
            part = _common(window, objects.boxes[place].tolist())
            if part is not None:
                (mask,) = painted(runs_in(objects, np.array([place]), image, part), (part.height, part.width))
                y, x = part.y - window.y, part.x - window.x
                label_map[y : y + part.height, x : x + part.width][mask] = self.labels[objects.labels[place]]
        return label_map


def _common(window: Window, box: list[float]) -> Window | None:
    """Return the part of a window that a box touches, or None."""
    y1, x1 = max(window.y, math.floor(box[1])), max(window.x, math.floor(box[0]))
    y2, x2 = min(window.y + window.height, math.ceil(box[3])), min(window.x + window.width, math.ceil(box[2]))
    return Window(y1, x1, y2 - y1, x2 - x1) if y1 < y2 and x1 < x2 else None
