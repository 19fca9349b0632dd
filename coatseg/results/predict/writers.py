"""Writers of predictions: which files each kind of prediction is written to, and where."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags, encode_label_map
from coatseg.errors import ConfigError, nearest
from coatseg.results.predict.canvas import LabelMap, Layers
from coatseg.results.predict.numbers import NUMBERS, Numbering, dataset_numbering
from coatseg.results.predict.objects_json import categories_of, encode_objects, join_objects
from coatseg.structures import Colour, DatasetInfo, InstancePrediction, Pixels
from coatseg.system.fsspec_folders import Place
from coatseg.tasks.base import Task
from coatseg.visualize.sheets import encode_picture, legend

MAPS = "labels"
OBJECTS = "objects"
JOINED = "instances.json"
LEGEND = "legend.png"
LEGEND_WIDTH = 640
SUFFIXES = (".png", ".tif")


class Writer(ABC):
    """Writes predictions of one kind to a place, each file whole or not at all.

    `files` are the names of all that it writes in the place itself, and `folders` those of its folders there. `words`
    say what is written where that is not plain. With `any_score`, objects are written to be used as they are, so that
    the unsure ones are better left out by a threshold.
    """

    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    words: str = ""
    any_score: bool = False

    def __init__(self, place: Place, info: DatasetInfo) -> None:
        self.place = place
        self.info = info

    def chosen(self, sources: Sequence[Source]) -> Sequence[Source]:
        """Return the images that are wanted, of those of the input; here all."""
        return sources

    def check(self, sources: Sequence[Source]) -> None:
        """Raise before the first image is predicted if some cannot be written.

        Raises:
            ConfigError: names of files do not fit what is written.
        """
        return

    @abstractmethod
    def done(self, source: Source) -> bool:
        """Return whether all files of an image are there."""

    @abstractmethod
    def write(self, source: Source, written: Any, tags: GeoTags | None) -> None:
        """Write the files of an image; `tags` say where its pixels lie, on Earth or in the levels of a pyramid."""

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Write what is one for all images, here the legend of their pictures; return a line on it, or nothing."""
        if pictures:
            self.place.write(LEGEND, encode_picture(legend(self.info, LEGEND_WIDTH, range(len(self.info.classes)))))
        return ""


class LabelMapWriter(Writer):
    """Writes labels/ID.png of class numbers with the palette, 16 bit beyond 255; labels/ID.tif for a GeoTIFF.

    With `numbers="dataset"` they hold the numbers of the dataset's own files.
    """

    folders = (MAPS,)

    def __init__(self, place: Place, info: DatasetInfo, *, numbers: str = "classes") -> None:
        super().__init__(place, info)
        self.numbering = dataset_numbering(info) if numbers == "dataset" else None
        if self.numbering is not None:
            low, high = min(self.numbering.classes), max(self.numbering.classes)
            self.words = (
                f"{MAPS}/ID of {info.name}'s numbers, {low} to {high}; pixels without a sure class are "
                f"{self.numbering.nothing}"
            )

    def done(self, source: Source) -> bool:
        """Look for either."""
        return _either(self.place, MAPS, source.id)

    def write(self, source: Source, written: LabelMap, tags: GeoTags | None) -> None:
        """Write the numbers."""
        labels, palette = written.labels, list(self.info.palette[:256])
        if self.numbering is not None:
            labels, palette = self.numbering(labels), renumbered_palette(self.numbering, palette)
        _write_map(self.place, MAPS, source.id, labels, tags, palette)


class LayersWriter(Writer):
    """Writes labels/CLASS/ID.png, or labels/ID.png for a single class: 255 where it is, else 0; .tif for a GeoTIFF.

    That is the layout in which data=folder reads layers.
    """

    folders = (MAPS,)

    @property
    def class_folders(self) -> list[str]:
        """The folder of each class."""
        classes = self.info.classes
        if len(classes) == 1:
            return [MAPS]
        names = [file_name(name, number) for number, name in enumerate(classes)]
        if len({name.casefold() for name in names}) < len(names):
            names = [f"{name}_{number}" for number, name in enumerate(names)]
        return [f"{MAPS}/{name}" for name in names]

    def done(self, source: Source) -> bool:
        """Look for the files of all classes."""
        return all(_either(self.place, folder, source.id) for folder in self.class_folders)

    def write(self, source: Source, written: Layers, tags: GeoTags | None) -> None:
        """Write a file a class."""
        for folder, layer in zip(self.class_folders, written.layers, strict=True):
            _write_map(self.place, folder, source.id, layer.view(np.uint8) * np.uint8(255), tags)


class FileWriter(Writer):
    """Writes one file for each image, in the first of its `folders`: FOLDER/ID with the `ending`."""

    ending: str = ".json"

    def path(self, source: Source) -> str:
        """Return the path of an image's file."""
        return f"{self.folders[0]}/{source.id}{self.ending}"

    def done(self, source: Source) -> bool:
        """Look for the file."""
        return self.place.exists(self.path(source))


class ObjectsWriter(FileWriter):
    """Writes objects/ID.json for each image, and joins them into instances.json."""

    files: tuple[str, ...] = (JOINED,)
    folders = (OBJECTS,)

    def write(self, source: Source, written: InstancePrediction, tags: GeoTags | None) -> None:
        """Write the objects."""
        self.place.write(self.path(source), encode_objects(written, source.name, self.info))

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Write instances.json, and no legend: in pictures, objects have their names."""
        ids = [source.id for source in sources]
        parts = [self.path(source) for source in sources if self.done(source)]
        join_objects(self.place, JOINED, parts, ids, categories_of(self.info))
        return ""


WRITERS: Mapping[str, type[Writer]] = {
    "semantic": LabelMapWriter,
    "multilabel": LayersWriter,
    "boxes": ObjectsWriter,
    "instances": ObjectsWriter,
}
"""The writer for each kind of labels that a task needs of its data, which is what it predicts."""


def writer_of(task: Task, place: Place, numbers: str = "classes") -> Writer:
    """Return the writer of a task's predictions; label maps may hold the `numbers` of the "dataset" own files.

    Raises:
        ConfigError: no file is known for what it predicts, or numbers are asked for that it does not have.
    """
    if numbers not in NUMBERS:
        raise ConfigError(f"numbers={numbers} is unknown.", nearest(numbers, NUMBERS))
    if numbers == "dataset" and task.needs != "semantic":
        raise ConfigError(
            "numbers=dataset is for label maps, and this model gives none.",
            "Leave numbers out: objects have the dataset's own category ids, layers are 0 and 255.",
        )
    if task.needs not in WRITERS:
        raise ConfigError(
            f"What a task for {task.needs} labels predicts goes to no file.",
            "Use coatseg.load(checkpoint) from Python, and write it yourself.",
        )
    if numbers == "dataset":
        return LabelMapWriter(place, task.info, numbers=numbers)
    return WRITERS[task.needs](place, task.info)


def file_name(name: str, number: int) -> str:
    """Make a class's name a folder's: a checkpoint may not write outside of its output."""
    safe = re.sub(r"[/\\\0]", "_", name)
    return safe if safe.strip(". ") else str(number)


def renumbered_palette(numbering: Numbering, palette: Sequence[Colour]) -> list[Colour]:
    """Return the colours of all numbers of 8 bit: those of classes have the class's colour, all others black."""
    colours: list[Colour] = [(0, 0, 0)] * 256
    for number, colour in zip(numbering.classes, palette, strict=False):  # which has no colour beyond 256 classes
        if number < 256:
            colours[number] = colour
    return colours


def _either(place: Place, folder: str, name: str) -> bool:
    return any(place.exists(f"{folder}/{name}{suffix}") for suffix in SUFFIXES)


def _write_map(
    place: Place, folder: str, name: str, labels: Pixels, tags: GeoTags | None, colours: Sequence[Colour] = ()
) -> None:
    """Write class numbers; those of uint8 with `colours`, and black for the others."""
    if tags is not None and tags.states_place:
        place.write(f"{folder}/{name}.tif", encode_label_map(labels, tags, colours))
        return
    write_png(place, f"{folder}/{name}.png", labels, colours)


def write_png(place: Place, name: str, labels: Pixels, colours: Sequence[Colour] = ()) -> None:
    """Write numbers (H, W), uint8 or uint16, as a PNG; those of uint8 with `colours` if there are any."""
    image = Image.fromarray(np.ascontiguousarray(labels))
    if colours and labels.dtype == np.uint8:
        image.putpalette(bytes(np.array(colours, np.uint8)).ljust(3 * 256, b"\0"))
    with place.writing(name) as file:
        image.save(file, format="png")
