"""Writers of predictions: which files each kind of prediction is written to, and where."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.errors import ConfigError, nearest
from coatseg.results.predict.canvas import LabelMap, Layers
from coatseg.results.predict.map_files import either, file_name, renumbered_palette, write_map
from coatseg.results.predict.numbers import NUMBERS, dataset_numbering
from coatseg.results.predict.objects_json import categories_of, encode_objects, image_numbers, join_objects
from coatseg.results.predict.segments_json import encode_ids, encode_segments, join_segments, panoptic_categories
from coatseg.structures import DatasetInfo, InstancePrediction, PanopticPrediction
from coatseg.system.fsspec_folders import Place
from coatseg.tasks.base import Task
from coatseg.visualize.sheets import encode_picture, legend

MAPS = "labels"
OBJECTS = "objects"
JOINED = "instances.json"
PANOPTIC = "panoptic"
SEGMENTS = "segments"
JOINED_SEGMENTS = "panoptic.json"
LEGEND = "legend.png"
LEGEND_WIDTH = 640


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
        return either(self.place, MAPS, source.id)

    def write(self, source: Source, written: LabelMap, tags: GeoTags | None) -> None:
        """Write the numbers."""
        labels, palette = written.labels, list(self.info.palette[:256])
        if self.numbering is not None:
            labels, palette = self.numbering(labels), renumbered_palette(self.numbering, palette)
        write_map(self.place, MAPS, source.id, labels, tags, palette)


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
        return all(either(self.place, folder, source.id) for folder in self.class_folders)

    def write(self, source: Source, written: Layers, tags: GeoTags | None) -> None:
        """Write a file a class."""
        for folder, layer in zip(self.class_folders, written.layers, strict=True):
            write_map(self.place, folder, source.id, layer.view(np.uint8) * np.uint8(255), tags)


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


class PanopticWriter(Writer):
    """Writes panoptic/ID.png of segment ids and segments/ID.json, and joins the latter into panoptic.json.

    That is COCO's panoptic format, of which `pngs` is the folder and `joined` the json. Segments are numbered from 1,
    void is 0.
    """

    pngs = PANOPTIC
    joined = JOINED_SEGMENTS
    files: tuple[str, ...] = (JOINED_SEGMENTS,)
    folders = (PANOPTIC, SEGMENTS)
    words = f"{PANOPTIC}/ID.png of segment ids (R + 256 G + 65536 B; 0 is void), {JOINED_SEGMENTS} of their classes"

    def png(self, source: Source) -> str:
        """Return the name of an image's PNG below the folder of all of them."""
        return f"{source.id}.png"

    def part(self, source: Source) -> str:
        """Return the path of the json of an image's segments."""
        return f"{SEGMENTS}/{source.id}.json"

    def numbers(self, sources: Sequence[Source]) -> Mapping[str, int | str]:
        """Return the id of each image in the joined json, by the ids of the sources."""
        return image_numbers([source.id for source in sources])

    def check(self, sources: Sequence[Source]) -> None:
        """Say what GeoTIFFs lose, since an RGB PNG states no place on Earth."""
        if any(PurePosixPath(source.address).suffix.lower() in (".tif", ".tiff") for source in sources):
            self.words = f"{self.words}; for=geopackage keeps the place of a GeoTIFF, which a PNG does not"

    def done(self, source: Source) -> bool:
        """Look for both files."""
        return self.place.exists(self.part(source)) and self.place.exists(f"{self.pngs}/{self.png(source)}")

    def write(self, source: Source, written: PanopticPrediction, tags: GeoTags | None) -> None:
        """Write the segments, then their pixels."""
        self.place.write(self.part(source), encode_segments(written, source.name, self.png(source), self.info))
        self.place.write(f"{self.pngs}/{self.png(source)}", encode_ids(written.ids.numpy()))

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Write the joined json, and no legend: in pictures, segments have their names."""
        numbers = self.numbers(sources)
        parts = {self.part(source): numbers[source.id] for source in sources if self.done(source)}
        join_segments(self.place, self.joined, parts, panoptic_categories(self.info))
        return ""


WRITERS: Mapping[str, type[Writer]] = {
    "semantic": LabelMapWriter,
    "multilabel": LayersWriter,
    "boxes": ObjectsWriter,
    "instances": ObjectsWriter,
    "panoptic": PanopticWriter,
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
            "Leave numbers out: objects and segments have the dataset's own category ids, layers are 0 and 255.",
        )
    if task.needs not in WRITERS:
        raise ConfigError(
            f"What a task for {task.needs} labels predicts goes to no file.",
            "Use coatseg.load(checkpoint) from Python, and write it yourself.",
        )
    if numbers == "dataset":
        return LabelMapWriter(place, task.info, numbers=numbers)
    return WRITERS[task.needs](place, task.info)
