"""The reader that every dataset of (image file, mask file) pairs shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coatseg.data.images import Pixels, read_image, read_label_map
from coatseg.errors import DatasetError
from coatseg.structures import DatasetInfo, Sample, Size

# Reads a mask file into (H, W) class numbers. A dataset whose masks hold other numbers maps them here.
MaskReader = Callable[[Path], Pixels]


@dataclass(frozen=True)
class Pair:
    """One example on disk: what it is called in its split, its image and its mask."""

    id: str
    image: Path
    mask: Path


class SemanticFiles:
    """Pairs of files as samples. A dataset finds its pairs and states its facts; reading and checking happen here.

    Label maps come as uint8, or int32 where classes or the ignore index need it.
    """

    def __init__(self, info: DatasetInfo, pairs: Sequence[Pair], read_mask: MaskReader = read_label_map) -> None:
        self.info = info
        self._pairs = tuple(pairs)
        self._read_mask = read_mask

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            ImageError: either file cannot be read.
            DatasetError: no mask, another size than the image's, or a label that is neither a class nor ignored.
        """
        pair = self._pairs[index]
        image = read_image(pair.image, self.info.channels)
        height, width = image.shape[:2]
        label_map = self._label_map(pair, (height, width))
        return Sample(id=pair.id, image=image, original_size=(height, width), label_map=label_map)

    def verify(self, index: int) -> None:
        """Raise what reading sample `index` would raise; that takes decoding, as files are cut short in the middle."""
        self[index]

    def _label_map(self, pair: Pair, size: Size) -> Pixels:
        if not pair.mask.exists():
            raise DatasetError(
                f"The image {pair.image} has no mask.", f"Put it at {pair.mask}, or leave the image out."
            )
        label_map = self._read_mask(pair.mask)
        if label_map.shape != size:
            raise DatasetError(
                f"The mask {pair.mask} is {_written(label_map.shape)}, its image {pair.image} {_written(size)}.",
                "Sizes are height x width. Export the mask at the size of the image.",
            )
        self._check_labels(pair, label_map)
        return label_map.astype(self._label_dtype, copy=False)

    def _check_labels(self, pair: Pair, label_map: Pixels) -> None:
        count, ignored = len(self.info.classes), self.info.ignore_index
        wrong = (label_map >= count) | (label_map < 0)
        wrong &= label_map != ignored
        if wrong.any():
            y, x = np.unravel_index(wrong.argmax(), wrong.shape)
            raise DatasetError(
                f"The mask {pair.mask} holds the label {label_map[y, x]}, first at (x={x}, y={y}): "
                f"{self.info.name} has labels 0 to {count - 1}, and {ignored} for pixels to ignore.",
                f"Add its class, or write {ignored} there to leave these pixels out.",
            )

    @property
    def _label_dtype(self) -> type[np.uint8] | type[np.int32]:
        fits = len(self.info.classes) <= 256 and 0 <= self.info.ignore_index < 256
        return np.uint8 if fits else np.int32


def _written(size: tuple[int, ...]) -> str:
    return "x".join(str(length) for length in size)
