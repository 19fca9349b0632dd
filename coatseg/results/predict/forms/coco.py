"""for=coco: lists of results, masks and boxes apart, as COCO's server and pycocotools' loadRes take them.

The format: https://cocodataset.org/#format-results. A row with both a box and a mask would have the box's area taken
for the mask's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from coatseg.data.annotations.objects.annotations import ObjectAnnotations
from coatseg.data.images.sources import Source
from coatseg.results.predict.forms.coco_images import CocoImages
from coatseg.results.predict.forms.submission import zip_words
from coatseg.results.predict.numbers import category_ids, numbers_by_name
from coatseg.results.predict.objects_json import json_row
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
        self.images = CocoImages.of(json)
        super().__init__(place, replace(info, category_ids=_categories(info, self.images.known)))
        self.files = tuple(self.shapes)

    def chosen(self, sources: Sequence[Source]) -> Sequence[Source]:
        """Return the images that the json has, as test-dev is half of test2017; all if it has none, to be refused."""
        return self.images.chosen(sources)

    def check(self, sources: Sequence[Source]) -> None:
        """Raise ConfigError if an image has no id, or two have one."""
        self.images.check(sources)

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Write the lists."""
        whole = [source for source in sources if self.done(source)]
        numbers = self.images.numbers(sources)
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
        return zip_words(" and ".join(self.shapes), len(whole), self.images.wanted(sources))


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
