"""Writers of predictions: which files each kind of prediction is written to, and where."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from coatseg.data.images.geotags import GeoTags, encode_label_map
from coatseg.data.images.sources import Source
from coatseg.errors import ConfigError
from coatseg.metrics.coco_format import box_areas, encode, mask_areas, results
from coatseg.results.predict.canvas import LabelMap, Layers
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
    """Writes predictions of one kind to a place, each file whole or not at all."""

    def __init__(self, place: Place, info: DatasetInfo) -> None:
        self.place = place
        self.info = info

    @abstractmethod
    def done(self, source: Source) -> bool:
        """Return whether all files of an image are there."""

    @abstractmethod
    def write(self, source: Source, written: Any, tags: GeoTags | None) -> None:
        """Write the files of an image; `tags` say where on Earth its pixels lie."""

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> None:
        """Write what is one for all images: the legend of their pictures, if there are any."""
        if pictures:
            self.place.write(LEGEND, encode_picture(legend(self.info, LEGEND_WIDTH, range(len(self.info.classes)))))


class LabelMapWriter(Writer):
    """Writes labels/ID.png of class numbers with the palette, 16 bit beyond 255; labels/ID.tif for a GeoTIFF."""

    def done(self, source: Source) -> bool:
        """Look for either."""
        return _either(self.place, MAPS, source.id)

    def write(self, source: Source, written: LabelMap, tags: GeoTags | None) -> None:
        """Write the class numbers."""
        _write_map(self.place, MAPS, source.id, written.labels, tags, self.info.palette[:256])


class LayersWriter(Writer):
    """Writes labels/CLASS/ID.png, or labels/ID.png for a single class: 255 where it is, else 0; .tif for a GeoTIFF.

    That is the layout in which data=folder reads layers.
    """

    @property
    def folders(self) -> list[str]:
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
        return all(_either(self.place, folder, source.id) for folder in self.folders)

    def write(self, source: Source, written: Layers, tags: GeoTags | None) -> None:
        """Write a file a class."""
        for folder, layer in zip(self.folders, written.layers, strict=True):
            _write_map(self.place, folder, source.id, layer.view(np.uint8) * np.uint8(255), tags)


class ObjectsWriter(Writer):
    """Writes objects/ID.json for each image, and joins them into instances.json."""

    def path(self, source: Source) -> str:
        """Return the path of an image's objects."""
        return f"{OBJECTS}/{source.id}.json"

    def done(self, source: Source) -> bool:
        """Look for the file."""
        return self.place.exists(self.path(source))

    def write(self, source: Source, written: InstancePrediction, tags: GeoTags | None) -> None:
        """Write the objects."""
        self.place.write(self.path(source), encode_objects(written, source.name, self.info))

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> None:
        """Write instances.json, and no legend: in pictures, objects have their names."""
        ids = [source.id for source in sources]
        parts = [self.path(source) for source in sources if self.done(source)]
        join_objects(self.place, JOINED, parts, ids, self.info)


WRITERS: Mapping[str, type[Writer]] = {
    "semantic": LabelMapWriter,
    "multilabel": LayersWriter,
    "boxes": ObjectsWriter,
    "instances": ObjectsWriter,
}
"""The writer for each kind of labels that a task needs of its data, which is what it predicts."""


def writer_of(task: Task, place: Place) -> Writer:
    """Return the writer of a task's predictions.

    Raises:
        ConfigError: no file is known for what it predicts.
    """
    if task.needs not in WRITERS:
        raise ConfigError(
            f"What a task for {task.needs} labels predicts goes to no file.",
            "Use coatseg.load(checkpoint) from Python, and write it yourself.",
        )
    return WRITERS[task.needs](place, task.info)


def file_name(name: str, number: int) -> str:
    """Make a class's name a folder's: a checkpoint may not write outside of its output."""
    safe = re.sub(r"[/\\\0]", "_", name)
    return safe if safe.strip(". ") else str(number)


def _either(place: Place, folder: str, name: str) -> bool:
    return any(place.exists(f"{folder}/{name}{suffix}") for suffix in SUFFIXES)


def _write_map(
    place: Place, folder: str, name: str, labels: Pixels, tags: GeoTags | None, colours: Sequence[Colour] = ()
) -> None:
    """Write class numbers; those of uint8 with `colours`, and black for the others."""
    if tags is not None:
        place.write(f"{folder}/{name}.tif", encode_label_map(labels, tags, colours))
        return
    image = Image.fromarray(np.ascontiguousarray(labels))
    if colours and labels.dtype == np.uint8:
        image.putpalette(bytes(np.array(colours, np.uint8)).ljust(3 * 256, b"\0"))
    with place.writing(f"{folder}/{name}.png") as file:
        image.save(file, format="png")


def encode_objects(prediction: InstancePrediction, file_name: str, info: DatasetInfo) -> bytes:
    """Make the json of one image's objects: what `instances.json` will hold of it, under the image's own id."""
    objects = encode(prediction, with_masks=True)
    areas = box_areas(objects.boxes) if objects.masks is None else mask_areas(objects.masks)
    height, width = prediction.size
    rows = results(prediction, info)
    content = {
        "image": {"id": prediction.id, "file_name": file_name, "height": height, "width": width},
        "annotations": [{**row, "area": area, "iscrowd": 0} for row, area in zip(rows, areas.tolist(), strict=True)],
    }
    return json.dumps(content, allow_nan=False).encode()


def join_objects(place: Place, name: str, parts: Sequence[str], ids: Sequence[str], info: DatasetInfo) -> None:
    """Join `parts`, files of images, into one in COCO's format: images, annotations with scores, categories.

    An image's number is the one that its file is called, as COCO's are (000000000139.jpg has 139), if all `ids` of the
    input have one of their own; else its place among them, counted from 1. Only one image's objects are in memory at a
    time.
    """
    numbers = image_numbers(ids)
    with place.writing(name) as file:
        file.write(b'{"categories": ' + json.dumps(categories(info)).encode())
        file.write(b',\n"images": [')
        for row, part in enumerate(parts):
            image = json.loads(place.read(part))["image"]
            file.write(_row({**image, "id": numbers[image["id"]]}, row))
        file.write(b'],\n"annotations": [')
        count = 0
        for part in parts:
            content = json.loads(place.read(part))
            number = numbers[content["image"]["id"]]
            for annotation in content["annotations"]:
                file.write(_row({**annotation, "id": count + 1, "image_id": number}, count))
                count += 1
        file.write(b"]}\n")


def image_numbers(ids: Sequence[str]) -> dict[str, int]:
    """Return a number for every image, by its id."""
    stems = [name.rpartition("/")[2] for name in ids]
    called = {name: int(stem) for name, stem in zip(ids, stems, strict=True) if stem.isdecimal()}
    if len(set(called.values())) == len(ids):
        return called
    return {name: place for place, name in enumerate(ids, 1)}


def categories(info: DatasetInfo) -> list[dict[str, Any]]:
    """Return COCO's rows of the classes that have objects, with the numbers of the dataset's own files."""
    labels = info.things or range(len(info.classes))
    numbers = info.category_ids or range(len(info.classes))
    return [{"id": numbers[label], "name": info.classes[label]} for label in labels]


def _row(row: dict[str, Any], place: int) -> bytes:
    return (b",\n" if place else b"\n") + json.dumps(row, allow_nan=False).encode()
