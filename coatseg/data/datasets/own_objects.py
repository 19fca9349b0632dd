"""Images and objects of one's own: read whole or as random windows, as objects or as label maps painted of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from coatseg.data.annotations.objects import ObjectAnnotations
from coatseg.data.annotations.windowed_objects import instances_in
from coatseg.data.datasets.object_files import CocoFiles
from coatseg.data.datasets.painted_labels import Painter
from coatseg.data.datasets.windowed_files import Windows, draw_window
from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_image, read_size
from coatseg.data.images.tiff import check_length
from coatseg.structures import Colour, Pixels, Sample, Size


class OwnObjects(CocoFiles):
    """Reads images and their objects; with `semantic`, label maps that are painted of the objects.

    With `windows`, the dataset has `per_image` samples of each image. `drawn` returns random windows; indexing returns
    a fixed window for each index. An object is what of it lies in the window, and gone if nothing does. Ids and sizes
    are those of WindowedFiles. `special` are classes that label maps have no class for, with their labels; `colours`
    are those of classes by name, where files state them; `lines` say what else was left out.
    """

    def __init__(
        self,
        name: str,
        images: Path,
        annotations: ObjectAnnotations,
        *,
        lines: Sequence[str] = (),
        windows: Windows | None = None,
        semantic: bool = False,
        special: Mapping[str, int] | None = None,
        colours: Mapping[str, Colour] | None = None,
    ) -> None:
        super().__init__(name, images, annotations, colours=colours)
        self._windows = windows
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
            return self._sample(row, name, read_image(path, self.info.channels), None)
        whole = self._whole(row)
        window = draw_window((whole.height, whole.width), self._windows.size, seed)
        image = read_image(path, self.info.channels, window=window)
        return self._sample(row, f"{name}@{window.y},{window.x}", image, window)

    def verify(self, index: int) -> None:
        """Raise what reading sample `index` would raise. With windows, this reads the header and one window."""
        if self._windows is not None:
            check_length(self.image_of(index % super().__len__())[1])
        self[index]

    def labels(self, index: int) -> Pixels | None:
        """Paint the label map (H, W) of a sample without decoding its image; None where objects are not painted."""
        if self._painter is None:
            return None
        row = index % super().__len__()
        return self._painter.paint(self._annotations, self._rows[row], self._whole(row))

    def has_objects(self, index: int) -> bool:
        """Return whether the image of a sample has an object that is no crowd."""
        return super().has_objects(index % super().__len__())

    def size(self, index: int) -> Size:
        """Return the (height, width) of a sample: of its image, as the annotations state it, or of its windows."""
        if self._windows is None:
            return super().size(index)
        height, width = super().size(index % super().__len__())
        return min(height, self._windows.size[0]), min(width, self._windows.size[1])

    def _whole(self, row: int) -> Window:
        """Return the window of a whole image, whose file has to have the size that the annotations state."""
        size = read_size(self.image_of(row)[1], self.info.channels)
        self.check_size(row, size)
        return Window(0, 0, *size)

    def _sample(self, row: int, name: str, image: Pixels, window: Window | None) -> Sample:
        size, file = (image.shape[0], image.shape[1]), str(self.image_of(row)[1])
        if window is None:
            self.check_size(row, size)
        seen, place = window or Window(0, 0, *size), self._rows[row]
        if self._painter is not None:
            label_map = self._painter.paint(self._annotations, place, seen)
            return Sample(name, image, size, label_map, file=file)
        instances = instances_in(self._annotations, place, window) if window else self._annotations.instances(place)
        return Sample(name, image, size, instances=instances, file=file)
