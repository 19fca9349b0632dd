"""Random windows of image files that are too large to be decoded for every training sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np

from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_image, read_label_map, read_mask_size, read_size
from coatseg.data.images.slides import FULL, Scale, is_slide
from coatseg.data.images.statements.nodata import NoData
from coatseg.data.images.tiff.header import check_length
from coatseg.data.readers.level_masks import LevelMasks
from coatseg.data.readers.mask_files import MaskReader, SemanticFiles, check_mask_is_there, check_mask_size
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import ConfigError
from coatseg.registry.options import PositiveInt, legal
from coatseg.structures import DatasetInfo, Sample, Size

WindowSize = Annotated[tuple[PositiveInt, PositiveInt] | None, legal("Write two integers: [height,width]")]

# Used beside a sample's seed, as its windows must not depend on the same random numbers as its augmentations.
_WINDOW_STREAM = 1


@dataclass(frozen=True)
class Windows:
    """How windows are drawn: their `size` (height, width), and how many of each image make an epoch."""

    size: Size
    per_image: int = 1


class WindowedFiles(SemanticFiles):
    """Reads pairs of files, whole if `windows` is None, else as random windows.

    With windows, the dataset has `per_image` samples of each image. `drawn` returns random windows; indexing returns a
    fixed window for each index. An image smaller than a window is returned whole. A sample's id is the pair's with the
    corner of its window, as in "a@512,1024" for y, x; its original size is the window's.
    """

    def __init__(
        self,
        info: DatasetInfo,
        pairs: Sequence[MaskedImage],
        read_mask: MaskReader = read_label_map,
        *,
        bands: Sequence[int] | None = None,
        scale: Scale = FULL,
        windows: Windows | None = None,
        nodata: NoData | None = None,
    ) -> None:
        super().__init__(info, pairs, read_mask, bands=bands, scale=scale, nodata=nodata)
        self._windows = windows

    @property
    def draws(self) -> bool:
        """Whether samples are random windows."""
        return self._windows is not None

    def __len__(self) -> int:
        return len(self._pairs) * (self._windows.per_image if self._windows else 1)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            ImageError: one of its files cannot be read.
            DatasetError: the mask is missing or of another size than the image, or a label is neither a class nor
                ignored.
        """
        return self.drawn(index, seed=index) if self._windows else super().__getitem__(index)

    def drawn(self, index: int, seed: int) -> Sample:
        """Read a training example of sample `index`: a window that is a function of index and seed.

        Raises:
            ImageError: one of its files cannot be read.
            DatasetError: the mask is missing or of another size than the image, or a label is neither a class nor
                ignored.
        """
        if self._windows is None:
            return self[index]
        if not 0 <= index < len(self):
            raise IndexError(index)
        pair = self._pairs[index % len(self._pairs)]
        window = draw_window(self._checked_size(pair), self._windows.size, seed)
        return self._read_window(pair, window)

    def verify(self, index: int) -> Sample:
        """Return sample `index`, or raise what is wrong with it. With windows, this reads the headers and one window.

        Raises:
            ImageError: one of its files cannot be read.
            DatasetError: as reading does; or image and mask are GeoTIFFs of different places.
        """
        if self._windows is None:
            return super().verify(index)
        pair = self._pairs[index % len(self._pairs)]
        size = self._checked_size(pair)
        for file in (pair.image, *self._mask_files(pair)):
            if not is_slide(file, FULL):
                check_length(file)
        self._check_place(pair, size)
        return self[index]

    def size(self, index: int) -> Size:
        """Return the (height, width) of a sample: of its image, read from the header, or of its windows."""
        if self._windows is None:
            return super().size(index)
        height, width = super().size(index % len(self._pairs))
        return min(height, self._windows.size[0]), min(width, self._windows.size[1])

    def _checked_size(self, pair: MaskedImage) -> Size:
        size = read_size(pair.image, self.info.channels, self._bands, self._scale)
        check_mask_is_there(pair)
        for file in self._mask_files(pair):
            check_mask_size(replace(pair, mask=file), self._mask_size(file), size)
        return size

    def _mask_size(self, file: Path) -> Size:
        return self._read_mask.size(file) if isinstance(self._read_mask, LevelMasks) else read_mask_size(file)

    def _read_window(self, pair: MaskedImage, window: Window) -> Sample:
        image = read_image(pair.image, self.info.channels, self._bands, window, self._scale)
        mask = self._read_mask(pair.mask, window)
        return self._sample(pair, f"{pair.id}@{window.y},{window.x}", image, mask, (window.y, window.x))


def windows_of(window: tuple[int, int] | None, per_image: int) -> Windows | None:
    """Return the windows that the options `window` and `windows_per_image` ask for; None for whole images.

    Raises:
        ConfigError: they cannot be.
    """
    if per_image < 1:
        raise ConfigError(f"data.windows_per_image={per_image} draws none.", "Choose 1 or more.")
    if window is None:
        if per_image > 1:
            raise ConfigError(
                f"data.windows_per_image={per_image} without a window.", "Set data.window=[height,width] as well."
            )
        return None
    if len(window) != 2 or min(window) < 1:
        raise ConfigError(f"data.window={window} is not a size in pixels.", "Write two integers: [height,width].")
    return Windows((window[0], window[1]), per_image)


def draw_window(image: Size, size: Size, seed: int) -> Window:
    """Return a window drawn uniformly from all that lie in an image, cut to the image where that is smaller."""
    height, width = (min(have, want) for have, want in zip(image, size, strict=True))
    random = np.random.default_rng(np.random.SeedSequence([seed, _WINDOW_STREAM]))
    y, x = random.integers((image[0] - height + 1, image[1] - width + 1)).tolist()
    return Window(y, x, height, width)
