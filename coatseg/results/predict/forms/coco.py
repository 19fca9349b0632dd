"""for=coco: lists of results, masks and boxes apart, as COCO's server and pycocotools' loadRes take them.

The format: https://cocodataset.org/#format-results. A row with both a box and a mask would have the box's area taken
for the mask's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from coatseg.data.annotations.classes import first_repeated
from coatseg.data.annotations.formats.coco import read_objects
from coatseg.data.annotations.objects.annotations import ObjectAnnotations
from coatseg.data.images.sources import Source
from coatseg.errors import ConfigError, listed
from coatseg.metrics.coco_format import image_number
from coatseg.results.predict.forms.submission import zip_words
from coatseg.results.predict.numbers import category_ids, numbers_by_name
from coatseg.results.predict.objects_json import json_row, numbers_in_names
from coatseg.results.predict.writers import OBJECTS, ObjectsWriter
from coatseg.structures import DatasetInfo
from coatseg.system.fsspec_folders import Place
from coatseg.training.callbacks.detections import BOXES, MASKS_OR_BOXES


class CocoBoxes(ObjectsWriter):
    """Writes detections.json: image_id, category_id, bbox and score of all objects, joined of objects/ID.json.

    `json` is the json of the images, such as image_info_test-dev2017.json, that has their ids by file_name and the
    category ids by name. Without it, an image's id is the number that its file is called, and category ids are those of
    the data that was trained on. Images that it lacks are left out.

    Raises:
        ConfigError: the json lacks a class of the model.
        DatasetError: it cannot be read, or is damaged.
    """

    folders = (OBJECTS,)
    shapes: Mapping[str, str] = {MASKS_OR_BOXES: "bbox"}
    """For each file, the field of a row that says where the object is."""

    def __init__(self, place: Place, info: DatasetInfo, *, json: str | None = None) -> None:
        self.known = None if json is None else read_objects(Path(json))
        super().__init__(place, replace(info, category_ids=_categories(info, self.known)))
        self.files = tuple(self.shapes)

    def chosen(self, sources: Sequence[Source]) -> Sequence[Source]:
        """Return the images that the json has, as test-dev is half of test2017; all if it has none, to be refused."""
        numbers = self._numbers(sources)
        there = [source for source in sources if source.id in numbers]
        return there if there and self.known is not None else sources

    def check(self, sources: Sequence[Source]) -> None:
        """Raise ConfigError if an image has no id, or two have one."""
        numbers = self._numbers(sources)
        lost = [source.name for source in sources if source.id not in numbers]
        if lost and self.known is not None:
            raise ConfigError(f"{self.known.path} has no image {listed(lost)}.", "Give the json of these images.")
        if lost:
            raise ConfigError(
                f"for=coco needs the ids of the images, and {lost[0]} is not called by one, as 000000000139.jpg is.",
                "Name the json that has them, such as for.json=annotations/image_info_test-dev2017.json.",
            )
        twice = first_repeated(numbers.values())
        if twice is not None:
            one, two = [source.name for source in sources if numbers[source.id] == twice][:2]
            raise ConfigError(f"{one} and {two} both have the id {twice}.", "Predict them apart.")

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Write the lists."""
        whole = [source for source in sources if self.done(source)]
        numbers = self._numbers(sources)
        for name, shape in self.shapes.items():
            with self.place.writing(name) as file:
                file.write(b"[")
                count = 0
                for source in whole:
                    for row in json.loads(self.place.read(self.path(source)))["annotations"]:
                        kept = {key: row[key] for key in ("category_id", shape, "score")}
                        file.write(json_row({"image_id": numbers[source.id], **kept}, count))
                        count += 1
                file.write(b"]\n")
        wanted = len(sources) if self.known is None else len(self.known.ids)
        return zip_words(" and ".join(self.shapes), len(whole), wanted)

    def _numbers(self, sources: Sequence[Source]) -> dict[str, int | str]:
        """Return the ids of images by their sources' ids, where they have one."""
        if self.known is None:
            return {**numbers_in_names([source.id for source in sources])}
        ids = [number if (number := image_number(name)) is not None else name for name in self.known.ids]
        named = dict(zip(self.known.files, ids, strict=True))
        short = {PurePosixPath(file).name: number for file, number in named.items()}
        by_end = short if len(short) == len(named) else {}
        found = {source.id: named.get(source.name, by_end.get(PurePosixPath(source.name).name)) for source in sources}
        return {name: number for name, number in found.items() if number is not None}


class CocoMasks(CocoBoxes):
    """Writes detections.json of masks in place of boxes, and detections_boxes.json."""

    shapes: Mapping[str, str] = {MASKS_OR_BOXES: "segmentation", BOXES: "bbox"}


def _categories(info: DatasetInfo, known: ObjectAnnotations | None) -> tuple[int, ...]:
    """Return the category id of each class that has objects, as the json has them, and any for the others."""
    if known is None:
        return category_ids(info)
    numbers = dict(zip(known.classes, known.category_ids, strict=True))
    things = info.things or range(len(info.classes))
    by_label = dict(
        zip(things, numbers_by_name([info.classes[label] for label in things], numbers, "coco"), strict=True)
    )
    return tuple(by_label.get(label, -1) for label in range(len(info.classes)))
