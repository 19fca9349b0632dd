"""The reader that every dataset of images and their objects shares."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.images import read_image, read_size
from coatseg.structures import DatasetInfo, Instances, Sample, Size


class ObjectFiles:
    """Image files and their objects as samples. A dataset states its facts, and gives names, files and objects.

    `repairs` say what was mended or left out of the annotations, a line each.
    """

    info: DatasetInfo
    repairs: tuple[str, ...] = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def image_of(self, index: int) -> tuple[str, Path]:
        """Give the id of a sample and the file of its image."""
        raise NotImplementedError

    def instances_of(self, index: int, size: Size) -> Instances:
        """Give the objects of a sample, whose image has this (height, width)."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Sample:
        """Read a sample.

        Raises:
            ImageError: a file cannot be read.
            DatasetError: the objects do not fit the image.
        """
        name, path = self.image_of(index)
        image = read_image(path, self.info.channels)
        size = image.shape[0], image.shape[1]
        return Sample(name, image, size, instances=self.instances_of(index, size), file=str(path))

    def verify(self, index: int) -> None:
        """Raise what reading sample `index` would raise; that takes decoding, as files are cut short in the middle."""
        self[index]

    def size(self, index: int) -> Size:
        """Read the upright (height, width) of a sample's image from its header."""
        return read_size(self.image_of(index)[1], self.info.channels)
