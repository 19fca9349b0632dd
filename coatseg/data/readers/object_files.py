"""Readers of images and their objects, which several datasets share; one is for objects in a json of COCO's format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from coatseg.data.annotations.classes import generated_palette
from coatseg.data.annotations.objects.annotations import ObjectAnnotations
from coatseg.data.images.reading import read_image, read_size
from coatseg.data.readers.official import official_classes
from coatseg.data.trees.image_names import ImageFolder
from coatseg.errors import DatasetError
from coatseg.structures import Colour, DatasetInfo, Instances, Sample, Size


class ObjectFiles:
    """Reads image files and their objects as samples. A subclass states the facts, and returns ids, files and objects.

    `repairs` say what was mended in the annotations or left out of them, a line each.
    """

    info: DatasetInfo
    repairs: tuple[str, ...] = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def image_of(self, index: int) -> tuple[str, Path]:
        """Return the id of a sample and the file of its image."""
        raise NotImplementedError

    def instances_of(self, index: int, size: Size) -> Instances:
        """Return the objects of a sample, whose image has this (height, width)."""
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

    def verify(self, index: int) -> Sample:
        """Return sample `index`, since files may be cut short in the middle, or raise what reading it raises."""
        return self[index]

    def size(self, index: int) -> Size:
        """Read the upright (height, width) of a sample's image from its header."""
        return read_size(self.image_of(index)[1], self.info.channels)


class CocoFiles(ObjectFiles):
    """Reads the images of a json of objects, in its order, from the folder `images`; `rows` selects some of them.

    Classes are the json's categories, numbered from 0 in its order. Colours are those of COCO's things with the same
    name, unless `colours` has one for it.

    Raises:
        DatasetError: the json has no category, or one of its images is missing.
    """

    def __init__(
        self,
        name: str,
        images: Path,
        annotations: ObjectAnnotations,
        rows: Sequence[int] | None = None,
        *,
        colours: Mapping[str, Colour] | None = None,
    ) -> None:
        classes = annotations.classes
        if not classes:
            raise DatasetError(f"{annotations.path} has no category.", "Name the classes of its objects there.")
        known = {**dict(zip(*official_classes("coco_panoptic"), strict=True)), **(colours or {})}
        made = generated_palette(len(classes) + 1)[1:]
        masks = {"instances"} if annotations.segmentations is not None else set()
        self.info = DatasetInfo(
            name=name,
            classes=classes,
            palette=tuple(known.get(one, colour) for one, colour in zip(classes, made, strict=True)),
            annotates=frozenset({"boxes", *masks}),
            things=tuple(range(len(classes))),
            category_ids=annotations.category_ids,
        )
        self._images = images
        self._annotations = annotations
        self._rows = tuple(range(len(annotations.files))) if rows is None else tuple(rows)
        found = ImageFolder(images).find([annotations.files[row] for row in self._rows], annotations.path)
        self._files = found.files
        self.repairs = (*found.repairs, *annotations.repairs(self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def image_of(self, index: int) -> tuple[str, Path]:
        """Return the id of a sample, which is that of its image in the json, and the file of its image."""
        row = self._rows[index]
        return self._annotations.ids[row], self._images / self._files[index]

    def size(self, index: int) -> Size:
        """Return the (height, width) of a sample's image as the json states it, else as the header of its file does."""
        stated = self._annotations.size(self._rows[index])
        return stated if any(stated) else super().size(index)

    @property
    def has_truth(self) -> bool:
        """Whether the json states annotations, which those of test sets do not."""
        return not self._annotations.unannotated

    def has_objects(self, index: int) -> bool:
        """Return whether a sample has an object that is no crowd."""
        return self._annotations.has_objects(self._rows[index])

    def instances_of(self, index: int, size: Size) -> Instances:
        """Return the objects of a sample.

        Raises:
            DatasetError: the json states another size than the image's, or run lengths do not fill it.
        """
        self.check_size(index, size)
        return self._annotations.instances(self._rows[index], size)

    def check_size(self, index: int, size: Size) -> None:
        """Raise DatasetError if the annotations state another (height, width) than the image of a sample has."""
        stated = self._annotations.size(self._rows[index])
        if any(stated) and stated != size:
            name, path = self.image_of(index)
            raise DatasetError(
                f"{self._annotations.path} states {stated[0]}x{stated[1]} for the image {name}, and {path} has "
                f"{size[0]}x{size[1]}.",
                "Sizes are height x width, upright by EXIF. Annotate the image as it is shown, or copy it again.",
            )
