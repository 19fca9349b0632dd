"""Read layers, the masks of multilabel segmentation: one file per class, and any number of classes per pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_label_map
from coatseg.data.images.stacked_masks import STACK_SUFFIXES, read_stacked_layer
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.structures import IGNORE_INDEX, Pixels

MOST_LAYERS = 128
_UNKNOWN = -(2**31)  # no number that masks hold


class LayerMasks:
    """Finds the mask files of every class, and reads those of an image as (H, W, K) uint8.

    The files of a single class lie in the folder of masks itself; with several, each class has a folder of its name
    there, or TIFF and numpy files in the folder of masks have a page, band or channel a class, in their order. A class
    is present where its mask is not zero, so that 1 and 255 mean the same. An ignore index other than 255 marks pixels
    whose truth is unknown, and so do nan and the nodata value of a TIFF, unless that is 0, where the class is not. A
    class without a file for an image is absent from all of it.

    `find` maps the stem of every file below a folder to the file.

    Raises:
        ConfigError: layers cannot hold the ignore index, or there are too many classes.
    """

    def __init__(self, classes: Sequence[str], ignore_index: int, find: Callable[[Path], dict[str, Path]]) -> None:
        if not 2 <= ignore_index <= 255:
            raise ConfigError(
                f"data.ignore_index={ignore_index} cannot be with data.layers=true, whose layers hold 0 and 1.",
                "Choose a number from 2 to 255.",
            )
        if len(classes) > MOST_LAYERS:
            raise ConfigError(
                f"The classes file names {len(classes)} classes, and layers are at most {MOST_LAYERS}.",
                "OpenCV moves no more of them at once: leave classes out.",
            )
        self._classes = tuple(classes)
        self._ignore_index = ignore_index
        self._find = find
        self._files: dict[Path, tuple[Path | None, ...]] = {}

    def folders(self, folder: Path) -> list[Path]:
        """Return the folder of each class's masks, given the folder of masks."""
        return [folder] if len(self._classes) == 1 else [folder / name for name in self._classes]

    def find(self, folder: Path) -> dict[str, Path]:
        """Map every stem to the first of its files, by which the reader then finds the others.

        Raises:
            DatasetNotFoundError: a folder of masks is missing.
        """
        folders = self.folders(folder)
        stacked = self._find_stacked(folder, folders)
        if stacked:
            self._files |= {path: (path,) * len(self._classes) for path in stacked.values()}
            return stacked
        for one in folders:
            if not one.is_dir():
                raise DatasetNotFoundError(
                    f"There is no folder {one}.",
                    f"With data.layers=true, masks are in {folder}/CLASS/ for each name in the classes file, "
                    f"or in {folder}/ if there is one name only.",
                )
        found = [self._find(one) for one in folders]
        first: dict[str, Path] = {}
        for stem in sorted({stem for files in found for stem in files}):
            files = tuple(of_class.get(stem) for of_class in found)
            first[stem] = next(file for file in files if file is not None)
            self._files[first[stem]] = files
        return first

    def _find_stacked(self, folder: Path, folders: Sequence[Path]) -> dict[str, Path]:
        """Map every stem to its file if there are files of all classes; {} otherwise."""
        if len(folders) == 1 or not folder.is_dir() or any(one.is_dir() for one in folders):
            return {}
        found = self._find(folder)
        return found if {path.suffix.lower() for path in found.values()} <= STACK_SUFFIXES else {}

    def files(self, path: Path) -> list[Path]:
        """Return all mask files of the image whose first one is `path`."""
        return list(dict.fromkeys(file for file in self._files[path] if file is not None))

    def __call__(self, path: Path, window: Window | None = None) -> Pixels:
        """Read the layers of the image whose first mask is `path`, or a window of them.

        Raises:
            ImageError: a file cannot be read.
            DatasetError: a file is in colour or a JPEG, or the masks have different sizes.
        """
        files = self._files[path]
        stacked = len(files) > 1 and set(files) == {path}
        read = {
            number: self._layer(file, window, number if stacked else None)
            for number, file in enumerate(files)
            if file is not None
        }
        first = next(iter(read.values()))
        layers = np.zeros((*first.shape, len(files)), np.uint8)
        for number, layer in read.items():
            if layer.shape != first.shape:
                sizes = ["x".join(str(length) for length in mask.shape) for mask in (first, layer)]
                raise DatasetError(
                    f"The mask {path} is {sizes[0]}, and {files[number]} is {sizes[1]}.",
                    "Sizes are height x width. Export the masks of all classes at the size of the image.",
                )
            layers[..., number] = layer
        return layers

    def _layer(self, path: Path, window: Window | None, stacked: int | None) -> Pixels:
        try:
            values = (
                read_label_map(path, window, ignore_index=_UNKNOWN, classes=1)
                if stacked is None
                else read_stacked_layer(path, stacked, len(self._classes), window, unknown=_UNKNOWN)
            )
        except DatasetError as error:
            mend = "Save it as a single-channel PNG: 0 where the class is not, any other number where it is."
            raise DatasetError(error.what, mend if stacked is None else error.mend) from error
        layer: Pixels = (values != 0).astype(np.uint8)
        layer[values == _UNKNOWN] = self._ignore_index
        if self._ignore_index != IGNORE_INDEX:
            layer[values == self._ignore_index] = self._ignore_index
        return layer
