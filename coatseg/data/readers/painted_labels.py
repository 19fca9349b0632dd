"""Label maps painted of objects: 0 is background, classes count from 1, and later objects lie over earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from coatseg.data.annotations.objects.run_lengths import Runs
from coatseg.data.annotations.objects.segmentations import painted
from coatseg.data.annotations.objects.windowed import WindowedObjects
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

    def paint(self, objects: WindowedObjects, row: int, image: Size, window: Window) -> Pixels:
        """Paint the objects of image `row`, which has the size `image`, in a window of it.

        Returns (H, W) uint8, or int32 where labels need it.

        Raises:
            DatasetError: the run lengths of an object do not fill the image.
        """
        fits = len(self.info.classes) <= self.info.ignore_index
        size = window.height, window.width
        label_map = np.zeros(size, np.uint8 if fits else np.int32)
        for place in objects.places(row, window):  # one by one, as masks of the whole image take much memory
            (counts,) = objects.runs(np.array([place]), image, window)
            runs = Runs.of_counts(counts, size)
            if len(runs.starts):
                (mask,) = painted([counts], size)
                x, y, width, height = map(int, runs.bbox())
                part = Window(y, x, height, width)
                part.cut(label_map)[part.cut(mask)] = self.labels[objects.objects.labels[place]]
        return label_map
