"""Images and labels in YOLO's format, boxes or polygons. The layout is drawn in data/README.md."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coatseg.data.annotations.formats.yolo import read_yolo
from coatseg.data.annotations.objects.entries import ObjectEntries
from coatseg.data.annotations.objects.options import ClassChoice, ObjectOptions
from coatseg.data.images.reading import read_size, stem_of
from coatseg.data.readers.own_objects import OwnObjects
from coatseg.data.trees.annotation_files import IMAGES, check_root
from coatseg.data.trees.yolo_tree import YoloTree, labels_of, read_yolo_tree
from coatseg.errors import DatasetError
from coatseg.registry.names import register

OBJECTS = ("object", "objects")


@dataclass(frozen=True, kw_only=True)
class YoloOptions(ClassChoice):
    """Which classes are taken, and what a line with a box is where others have polygons (see ObjectOptions)."""

    without_mask: Literal["stop", "leave_out", "box"] = "stop"


@register("dataset", "yolo")
class Yolo(OwnObjects):
    """The `split` of a dataset in YOLO's format; `file` is its data.yaml, relative to `root`.

    The yaml names the classes and, for each split, a folder of images, a list of them, or several of these. The labels
    of an image are in labels/ where it is in images/, else beside it. An image without labels has no objects. Splits
    may be called valid, validation, testing or training as well. `options` say which classes are taken, and what boxes
    among polygons are. With `semantic`, label maps are painted of the polygons in their order, with a background in
    front of the classes.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: `root` or the yaml is missing.
        DatasetError: the yaml or a line of labels makes no sense, or a split is missing or has no labels at all.
    """

    facts_in_words = ("by data.yaml", "boxes; instances or semantic where there are polygons")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        file: str = "data.yaml",
        options: YoloOptions = YoloOptions(),
        semantic: bool = False,
    ) -> None:
        root = Path(root)
        check_root(root)
        tree = read_yolo_tree(root / file)
        images = tree.images(split)
        top = Path(os.path.commonpath([image.parent for image in images]))
        entries = ObjectEntries(tree.classes)
        _check_labels(images, tree, split)
        for image in images:
            _add(entries, image, top, tree)
        chosen = ObjectOptions(classes=options.classes, leave_out=options.leave_out, without_mask=options.without_mask)
        objects = entries.collected(tree.path, chosen)
        super().__init__(root.resolve().name, top, objects, lines=entries.lines, semantic=semantic)


def _check_labels(images: Sequence[Path], tree: YoloTree, split: str) -> None:
    if not any(labels_of(image).is_file() for image in images):
        raise DatasetError(
            f"No image of the split {split!r} of {tree.path} has labels; those of {images[0]} would be "
            f"{labels_of(images[0])}.",
            "Labels are in a folder labels/ where images are in images/, else beside them.",
        )


def _add(entries: ObjectEntries, image: Path, top: Path, tree: YoloTree) -> None:
    size, labels = read_size(image, 3), labels_of(image)
    within = image.relative_to(top)
    entries.add_image(stem_of(within), within.as_posix(), size)
    if not labels.is_file():
        entries.count(IMAGES, "without a txt of labels taken to show no object", within.as_posix())
        return
    for found in read_yolo(labels, f"{within.with_suffix('.txt').as_posix()}", size, tree.classes, tree.path):
        segmentation = None if found.polygon is None else [found.polygon]
        entries.add(found.label, found.words, bbox=found.bbox, segmentation=segmentation)
        if found.clipped:
            entries.count(OBJECTS, "reaching out of the image by less than a pixel clipped", found.words)
