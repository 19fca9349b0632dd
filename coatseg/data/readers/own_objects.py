"""Images and objects of one's own: read whole or as random windows, as objects or as label maps painted of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from coatseg.data.annotations.objects.annotations import ObjectAnnotations
from coatseg.data.annotations.objects.windowed import WindowedObjects
from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_image, read_size
from coatseg.data.images.tiff.header import check_length
from coatseg.data.readers.object_files import CocoFiles
from coatseg.data.readers.painted_labels import Painter
from coatseg.data.readers.windowed_files import Windows, draw_window
from coatseg.errors import DatasetError
from coatseg.structures import Colour, Pixels, Sample, Size


class OwnObjects(CocoFiles):
    """Reads images and their objects; with `semantic`, label maps that are painted of the objects.

    With `windows`, the dataset has `per_image` samples of each image. `drawn` returns random windows; indexing returns
    a fixed window for each index. An object is what of it lies in the window, and gone if nothing does. Ids and sizes
    are those of WindowedFiles. `special` are classes that label maps have no class for, with their labels; `colours`
    are those of classes by name, where files state them; `lines` say what else was left out.

    Raises:
        ConfigError: label maps cannot have a class of that name.
        DatasetError: label maps are asked for, and an object has no mask; or an image is missing.
    """

    def __init__(
        self,
        name: str,
        images: Path,
        annotations: ObjectAnnotations,
        rows: Sequence[int] | None = None,
        *,
        lines: Sequence[str] = (),
        windows: Windows | None = None,
        semantic: bool = False,
        special: Mapping[str, int] | None = None,
        colours: Mapping[str, Colour] | None = None,
    ) -> None:
        super().__init__(name, images, annotations, rows, colours=colours)
        self._windows = windows
        self._windowed = WindowedObjects.of(annotations)
        if semantic and annotations.segmentations is None:
            raise DatasetError(
                f"{annotations.path} has objects without a mask, and data.semantic=true paints masks.",
                "Leave it out, or say with data.without_mask=leave_out or box what objects without a mask are.",
            )
        self._painter = Painter.of(self.info, special or {}) if semantic else None
        self.info = self._painter.info if self._painter else self.info
        self.repairs = (*self.repairs, *lines)

    @property
    def draws(self) -> bool:
        """Whether samples are random windows."""
        return self._windows is not None

    def __len__(self) -> int:
        return super().__len__() * (self._windows.per_image if self._windows else 1)

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            ImageError: the image cannot be read.
            DatasetError: the objects do not fit the image.
        """
        return self.drawn(index, seed=index)

    def drawn(self, index: int, seed: int) -> Sample:
        """Read a training example of sample `index`: with windows, one that is a function of index and seed.

        Raises:
            ImageError: the image cannot be read.
            DatasetError: the objects do not fit the image.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        row = index % super().__len__()
        name, path = self.image_of(row)
        if self._windows is None:
            image = read_image(path, self.info.channels)
            size = image.shape[0], image.shape[1]
            self.check_size(row, size)
            return self._sample(row, name, image, size, None)
        size = self._checked_size(row)
        window = draw_window(size, self._windows.size, seed)
        image = read_image(path, self.info.channels, window=window)
        return self._sample(row, f"{name}@{window.y},{window.x}", image, size, window)

    def verify(self, index: int) -> Sample:
        """Return sample `index`, or raise what reading it raises. With windows, that is the header and one window."""
        if self._windows is not None:
            check_length(self.image_of(index % super().__len__())[1])
        return self[index]

    def labels(self, index: int) -> Pixels | None:
        """Paint the label map (H, W) of a sample without decoding its image; None where objects are not painted."""
        if self._painter is None:
            return None
        row = index % super().__len__()
        size = self._checked_size(row)
        return self._painter.paint(self._windowed, self._rows[row], size, Window(0, 0, *size))

    def has_objects(self, index: int) -> bool:
        """Return whether the image of a sample has an object that is no crowd."""
        return super().has_objects(index % super().__len__())

    def size(self, index: int) -> Size:
        """Return the (height, width) of a sample: of its image, as the annotations state it, or of its windows."""
        if self._windows is None:
            return super().size(index)
        height, width = super().size(index % super().__len__())
        return min(height, self._windows.size[0]), min(width, self._windows.size[1])

    def _checked_size(self, row: int) -> Size:
        """Return the size of an image by its header, which has to be the one that the annotations state."""
        size = read_size(self.image_of(row)[1], self.info.channels)
        self.check_size(row, size)
        return size

    def _sample(self, row: int, name: str, image: Pixels, size: Size, window: Window | None) -> Sample:
        """Return the sample of an image of this (height, width), or of a window of it, whose pixels are `image`."""
        shown, file, place = (image.shape[0], image.shape[1]), str(self.image_of(row)[1]), self._rows[row]
        if self._painter is not None:
            label_map = self._painter.paint(self._windowed, place, size, window or Window(0, 0, *size))
            return Sample(name, image, shown, label_map, file=file)
        if window is None:
            return Sample(name, image, shown, instances=self._annotations.instances(place, size), file=file)
        return Sample(name, image, shown, instances=self._windowed.instances(place, size, window), file=file)
