"""The reader of (image file, mask file) pairs, which many datasets share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from coatseg.data.annotations.multilabel_masks import LayerMasks
from coatseg.data.images.reading import ColourMasks, read_image, read_label_map, read_size
from coatseg.data.images.slides import FULL, Scale
from coatseg.data.images.statements.nodata import NoData
from coatseg.data.images.statements.palettes import read_palette
from coatseg.data.images.statements.same_place import check_same_place
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import DatasetError
from coatseg.structures import Colour, DatasetInfo, Pixels, Sample, Size

# Reads a mask file, given its path, as (H, W) class numbers, or as layers (H, W, K), 1 where a class is and 0 where
# it is not. A dataset whose masks hold other numbers maps them here. If windows are drawn, it takes the Window to
# read as a second argument.
MaskReader = Callable[..., Pixels]


class SemanticFiles:
    """Reads pairs of files as samples. A dataset finds its pairs and states its facts; this class reads and checks.

    Label maps are uint8, or int32 if classes or the ignore index need it. `bands` are those bands of the image files
    that become channels, counted from 1; None takes all. `scale` chooses a level of slides and pyramids among the
    images. Where `nodata` finds none, an image gets the mean and its mask the ignore index.
    """

    def __init__(
        self,
        info: DatasetInfo,
        pairs: Sequence[MaskedImage],
        read_mask: MaskReader = read_label_map,
        *,
        bands: Sequence[int] | None = None,
        scale: Scale = FULL,
        nodata: NoData | None = None,
    ) -> None:
        self.info = info
        self._pairs = tuple(pairs)
        self._read_mask = read_mask
        self._bands = None if bands is None else tuple(bands)
        self._scale = scale
        self._nodata = nodata

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            ImageError: one of its files cannot be read.
            DatasetError: the mask is missing or of another size than the image, or a label is neither a class nor
                ignored.
        """
        return self._read(self._pairs[index])

    def verify(self, index: int) -> Sample:
        """Return sample `index`, since files may be cut short in the middle, or raise what is wrong with it.

        Raises:
            ImageError: one of its files cannot be read.
            DatasetError: as reading does; or image and mask are GeoTIFFs of different places.
        """
        sample = self[index]
        self._check_place(self._pairs[index], sample.original_size)
        return sample

    def palette(self, index: int) -> tuple[Colour, ...]:
        """Return the palette of a mask whose numbers are read; empty if it has none, or is read by its colours."""
        by_numbers = not isinstance(self._read_mask, ColourMasks | LayerMasks)
        return read_palette(self._pairs[index % len(self._pairs)].mask) if by_numbers else ()

    def size(self, index: int) -> Size:
        """Read the upright (height, width) of a sample's image from its header."""
        return read_size(self._pairs[index].image, self.info.channels, self._bands, self._scale)

    def labels(self, index: int) -> Pixels:
        """Read only the label map (H, W) or the layers (H, W, K) of a sample; raises what reading all of it would.

        Where images tell which labels are ignored, they are read too.
        """
        pair = self._pairs[index]
        if self._nodata is not None:
            sample = self._read(pair)
            return cast(Pixels, sample.label_map if sample.layers is None else sample.layers)
        check_mask_is_there(pair)
        mask = self._read_mask(pair.mask)
        return mask if mask.ndim == 3 else self._checked(pair, mask, (0, 0))

    def _read(self, pair: MaskedImage) -> Sample:
        image = read_image(pair.image, self.info.channels, self._bands, scale=self._scale)
        height, width = image.shape[:2]
        check_mask_is_there(pair)
        mask = self._read_mask(pair.mask)
        check_mask_size(pair, mask.shape[:2], (height, width))
        return self._sample(pair, pair.id, image, mask)

    def _sample(
        self, pair: MaskedImage, name: str, image: Pixels, mask: Pixels, corner: tuple[int, int] = (0, 0)
    ) -> Sample:
        """Return the sample of an image and its mask, both of which begin at `corner` (y, x) in their files."""
        size = image.shape[0], image.shape[1]
        nowhere = None
        if self._nodata is not None:
            image, nowhere = self._nodata.filled(image, self._nodata.held(pair.image))
        labels = mask if mask.ndim == 3 else self._checked(pair, mask, corner)
        if nowhere is not None:
            labels = labels.copy()
            labels[nowhere] = self.info.ignore_index
        label_map, layers = (None, labels) if mask.ndim == 3 else (labels, None)
        return Sample(name, image, size, label_map, layers=layers, file=str(pair.image), nodata=nowhere)

    def _check_place(self, pair: MaskedImage, size: Size) -> None:
        """Raise DatasetError if an image of `size` and a mask of it, both GeoTIFFs, show different places."""
        for file in self._mask_files(pair):
            check_same_place(pair.image, file, size)

    def _mask_files(self, pair: MaskedImage) -> list[Path]:
        return self._read_mask.files(pair.mask) if isinstance(self._read_mask, LayerMasks) else [pair.mask]

    def _checked(self, pair: MaskedImage, label_map: Pixels, corner: tuple[int, int]) -> Pixels:
        """Return a label map in its dtype, or raise DatasetError if a label is neither a class nor ignored.

        `corner` (y, x) is where the map begins in its file.
        """
        return check_labels(pair.mask, label_map, self.info, corner)


def check_labels(mask: object, label_map: Pixels, info: DatasetInfo, corner: tuple[int, int] = (0, 0)) -> Pixels:
    """Return a label map as uint8, or int32 if classes or the ignore index need it.

    `mask` is its name in errors, and `corner` (y, x) where the map begins in it.

    Raises:
        DatasetError: a label is neither a class nor ignored.
    """
    count, ignored = len(info.classes), info.ignore_index
    wrong = (label_map >= count) | (label_map < 0)
    wrong &= label_map != ignored
    if wrong.any():
        y, x = np.unravel_index(wrong.argmax(), wrong.shape)
        raise DatasetError(
            f"The mask {mask} holds the label {label_map[y, x]}, "
            f"first at (x={x + corner[1]}, y={y + corner[0]}): "
            f"{info.name} has labels 0 to {count - 1}, and {ignored} for pixels to ignore.",
            f"Add its class, or write {ignored} there to leave these pixels out.",
        )
    return label_map.astype(np.uint8 if count <= 256 and 0 <= ignored < 256 else np.int32, copy=False)


def check_mask_is_there(pair: MaskedImage) -> None:
    """Raise DatasetError if an image has no mask."""
    if not pair.mask.exists():
        raise DatasetError(f"The image {pair.image} has no mask.", f"Put it at {pair.mask}, or leave the image out.")


def check_mask_size(pair: MaskedImage, mask: tuple[int, ...], image: Size) -> None:
    """Raise DatasetError if a mask has another size than its image."""
    if mask != image:
        raise DatasetError(
            f"The mask {pair.mask} is {_written(mask)}, its image {pair.image} {_written(image)}.",
            "Sizes are height x width. Export the mask at the size of the image.",
        )


def _written(size: tuple[int, ...]) -> str:
    return "x".join(str(length) for length in size)
