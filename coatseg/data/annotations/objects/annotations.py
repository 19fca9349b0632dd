"""Objects in COCO's form, checked, mended and stored in arrays: what every reader of boxes and polygons hands on.

The form: https://cocodataset.org/#format-data, section 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.objects.columns import (
    NAMES,
    Entries,
    check_unique_ids,
    column_of,
    places_of,
    stated_areas,
    unfitting,
    unique_column,
)
from coatseg.data.annotations.objects.kept import OF_ALL, kept_objects
from coatseg.data.annotations.objects.mended_boxes import repair_line
from coatseg.data.annotations.objects.options import ObjectOptions
from coatseg.data.annotations.objects.places import Places
from coatseg.data.annotations.objects.segmentations import SegmentationError, Segmentations
from coatseg.errors import DatasetError
from coatseg.structures import Instances, Size

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Repair:
    """Things of a `kind` (singular, plural) that were mended or left out, and what was `done`, in words.

    `numbers` and `rows`, both (N,), are those of their annotations and the places of their images. With `of_all` it
    concerns all images, not only those `rows`.
    """

    kind: tuple[str, str]
    done: str
    numbers: Numbers
    rows: Numbers
    of_all: bool = False

    def lines(self, rows: Sequence[int], places: Places) -> tuple[str, ...]:
        """Return a line on what was done in the images `rows`; none if it does not concern them."""
        numbers = self.numbers[np.isin(self.rows, rows)]
        if self.of_all and not len(numbers):
            numbers = self.numbers
        if not len(numbers):
            return ()
        return (repair_line(self.kind, len(numbers), self.done, places[int(numbers[0])]),)


@dataclass(frozen=True)
class ObjectAnnotations:
    """Objects of the images of a file or folder, `path`, mended where files commonly need it.

    `classes` are the names of the chosen categories in their order, and `category_ids` their ids. Its I images have
    `ids`, `files` and `sizes` (I, 2), height and width, which are 0 where none is stated. Objects are stored in arrays,
    those of image i from `begins[i]` to `begins[i + 1]`, so that a hundred thousand images are passed to worker
    processes fast. `numbers` are the places of objects among the annotations, by which `segmentations` and `places` are
    indexed. `areas` has NaN where none is stated. `segmentations` is None if any object has no mask. `findings` tell
    what was mended or left out, `notes` what else the user should know. `unannotated` is whether the file states no
    annotations at all, as those of test sets do.
    """

    path: Path
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    ids: tuple[str, ...]
    files: tuple[str, ...]
    sizes: Numbers
    begins: Numbers
    boxes: npt.NDArray[np.float64]
    labels: Numbers
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float64]
    numbers: Numbers
    segmentations: Segmentations | None
    places: Places
    findings: tuple[Repair, ...] = ()
    notes: tuple[str, ...] = ()
    unannotated: bool = False

    def repairs(self, rows: Sequence[int]) -> tuple[str, ...]:
        """Return one line for each kind of mending or omission that concerns the images `rows`."""
        return (*(line for finding in self.findings for line in finding.lines(rows, self.places)), *self.notes)

    def size(self, index: int) -> Size:
        """Return the (height, width) of an image."""
        height, width = self.sizes[index].tolist()
        return height, width

    def has_objects(self, index: int) -> bool:
        """Return whether an image has an object that is not a crowd."""
        return not self.crowd[self.begins[index] : self.begins[index + 1]].all()

    def instances(self, index: int, size: Size | None = None) -> Instances:
        """Return the objects of an image; a mask has no pixels where its polygon is smaller than one.

        `size` is the image's, and needed where none is stated.

        Raises:
            DatasetError: the run lengths of a mask do not fill the image.
        """
        own = slice(self.begins[index], self.begins[index + 1])
        masks = None
        if self.segmentations is not None:
            try:
                masks = self.segmentations.masks(self.numbers[own].tolist(), size or self.size(index))
            except SegmentationError as error:
                raise unfitting(self.path, self.places[error.number], error.what) from error
        return Instances(self.boxes[own], self.labels[own], masks, self.crowd[own], self._areas(own, masks))

    def _areas(self, own: slice, masks: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float64] | None:
        """Return the areas of objects; where only some state them, the others have those of mask or box."""
        areas = self.areas[own]
        bare = np.isnan(areas)
        if len(bare) and bare.all():
            return None
        if not bare.any():
            return areas
        boxes = self.boxes[own]
        return np.where(bare, (boxes[:, 2:] - boxes[:, :2]).prod(1) if masks is None else masks.sum((1, 2)), areas)


def annotations_of_entries(
    path: Path,
    images: Entries,
    annotations: Entries,
    categories: Entries,
    options: ObjectOptions = ObjectOptions(),
    words: Sequence[str] | None = None,
) -> ObjectAnnotations:
    """Check and mend objects in COCO's form, and store them in arrays.

    Entries have the fields of COCO's json: images `id`, `file_name`, `height` and `width`; categories `id` and `name`;
    annotations `id`, `image_id`, `category_id`, `segmentation` or `bbox` or both, and perhaps `iscrowd` and `area`. A
    box may be left out where there is a mask, and is that of the painted mask then. `words` say where each annotation
    stands in its file, such as "labels/a.txt, line 3"; otherwise it is named by its id.

    Raises:
        ConfigError: classes are chosen that are not there.
        DatasetError: entries lack a field, or contradict themselves or each other.
    """
    files, image_ids, sizes = _images(path, images)
    category_ids = unique_column(path, "category", categories, "id", int)
    names = unique_column(path, "category", categories, "name", str)
    places = Places.of(column_of(path, "annotation", annotations, "id", int), words)
    rows = places_of(path, annotations, "image_id", image_ids, "images", places.__getitem__)
    _check_sized(path, images, rows)
    if words is None and not check_unique_ids(path, places.ids.tolist(), rows):
        places = Places.of(
            places.ids,
            [f"annotation {annotation['id']} of image {annotation['image_id']}" for annotation in annotations],
        )
    kinds = places_of(path, annotations, "category_id", category_ids, "categories", places.__getitem__)
    unused = np.bincount(kinds, minlength=len(names)) == 0
    chosen = options.chosen(names, str(path))
    objects = kept_objects(path, annotations, sizes[rows], chosen.labels[kinds], options, places.__getitem__)
    numbers = objects.numbers[np.argsort(rows[objects.numbers], kind="stable")]
    return ObjectAnnotations(
        path,
        chosen.names,
        tuple(category_ids[place] for place in chosen.places.tolist()),
        tuple(map(str, image_ids)),
        tuple(files),
        sizes,
        np.searchsorted(rows[numbers], np.arange(len(images) + 1)),
        objects.boxes[numbers],
        chosen.labels[kinds][numbers],
        objects.crowd[numbers],
        stated_areas(path, annotations, places.__getitem__)[numbers],
        numbers,
        objects.segmentations,
        places,
        tuple(Repair(*finding, rows[finding[2]], finding[1] in OF_ALL) for finding in objects.findings),
        _notes(categories, [name for place, name in enumerate(names) if unused[place] and name in chosen.names]),
    )


def _images(path: Path, images: Entries) -> tuple[list[str], list[int | str], Numbers]:
    image_ids = unique_column(path, "image", images, "id", NAMES)
    files = column_of(path, "image", images, "file_name", str)
    if "" in files:
        raise DatasetError(f"{path}: image {image_ids[files.index('')]} has an empty file_name.", "Name its file.")
    # Label Studio states no size of images without annotations; that of the file is taken then.
    stated = [{**image, "height": 0, "width": 0} if _is_unsized(image) else image for image in images]
    sides = [column_of(path, "image", stated, side, int) for side in ("height", "width")]
    return files, image_ids, np.array(sides, np.int64).T


def _is_unsized(image: Mapping[str, Any]) -> bool:
    return image.get("height") is None and image.get("width") is None


def _check_sized(path: Path, images: Entries, rows: Numbers) -> None:
    """Raise DatasetError if an image with annotations states no size."""
    for row in np.unique(rows).tolist():
        if _is_unsized(images[row]):
            column_of(path, "image", [images[row]], "height", int)


def _notes(categories: Entries, unused: Sequence[str]) -> tuple[str, ...]:
    """Return lines on classes that no object has and that are none in fact: the root or background of some tools."""
    reasons = {"_background_": ""}
    for category in categories:
        parent = category.get("supercategory")
        if isinstance(parent, str) and parent != category["name"]:
            reasons[parent] = " and is the supercategory of others"
    return tuple(
        f"the class {name} has no object{reasons[name]}; data.leave_out=[{name}] leaves it out"
        for name in unused
        if name in reasons
    )
