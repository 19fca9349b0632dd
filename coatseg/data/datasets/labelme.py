"""Images and the jsons that LabelMe writes for them. The layouts are drawn in data/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from coatseg.data.annotations.formats.labelme import (
    BACKGROUND,
    IGNORED,
    LINES,
    LabelFile,
    Shape,
    read_labelme,
    segmentation_of,
)
from coatseg.data.annotations.objects.entries import ObjectEntries, extent_of
from coatseg.data.annotations.objects.options import ClassChoice, ObjectOptions
from coatseg.data.annotations.objects.run_lengths import united
from coatseg.data.images.reading import read_size
from coatseg.data.readers.own_objects import OwnObjects
from coatseg.data.trees.annotation_files import (
    AnnotatedImage,
    AnnotationFiles,
    FileState,
    annotated_images,
    check_root,
    files_of_images,
    states_of,
)
from coatseg.errors import DatasetError
from coatseg.registry.names import register
from coatseg.structures import IGNORE_INDEX, Size

SUFFIXES = frozenset({".json"})
SPECIAL = {BACKGROUND: 0, IGNORED: IGNORE_INDEX}
SHAPES = ("shape", "shapes")


@register("dataset", "labelme")
class LabelMe(OwnObjects):
    """The `split` of images under `root` and their jsons, each beside its image or in a folder of its own.

    `files` says where they are, and what an image without a json is; the classes are all labels in the jsons of all
    splits, sorted, of which `choice` may take some. Shapes of one label and group are one object; points and lines are
    left out. With `semantic`, label maps are painted of the shapes in their order, with a background in front of the
    classes: `__ignore__` is painted as what is ignored, and `_background_` as background. As objects both are left out.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: `root` or a folder is missing.
        DatasetError: no such split, an empty one, images without a json, a json that makes no sense or is of another
            image.
    """

    facts_in_words = ("by its jsons", "boxes, instances, or semantic")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        files: AnnotationFiles = AnnotationFiles(),
        choice: ClassChoice = ClassChoice(),
        semantic: bool = False,
    ) -> None:
        root = Path(root)
        check_root(root)
        found = annotated_images(root, split, SUFFIXES, files)
        labels = _labels(root)
        names = [label for label in labels if label not in SPECIAL]
        # As objects, these are left out in any case.
        left_out = [name for name in choice.leave_out if semantic or name not in SPECIAL]
        options = ObjectOptions(classes=choice.classes, leave_out=left_out)
        if semantic:
            names += [label for label in labels if label in SPECIAL]
            options = _with_special(options, names)
        entries = ObjectEntries(names)
        for image in found.images:
            _add(entries, image, root, {name: number for number, name in enumerate(names)}, grouped=not semantic)
        objects = entries.collected(root, options)
        lines = (*found.lines, *entries.lines)
        super().__init__(root.resolve().name, root, objects, lines=lines, semantic=semantic, special=SPECIAL)


def _with_special(options: ObjectOptions, names: Sequence[str]) -> ObjectOptions:
    """Return options that choose the special labels too, which are no classes that a user would name."""
    if options.classes is None:
        return options
    special = [name for name in names if name in SPECIAL and name not in (*options.classes, *options.leave_out)]
    return ObjectOptions(classes=[*options.classes, *special], leave_out=options.leave_out)


def _add(entries: ObjectEntries, image: AnnotatedImage, root: Path, numbers: dict[str, int], *, grouped: bool) -> None:
    size = read_size(image.image, 3)
    entries.add_image(image.id, image.image.relative_to(root).as_posix(), size)
    if image.file is None:
        return
    content = read_labelme(image.file)
    _check_image(content, image.image, size)
    where = image.file.relative_to(root).as_posix()
    for shape in content.shapes:
        if shape.kind in LINES:
            entries.count(SHAPES, "without pixels, points or lines, left out", f"{where}, shape {shape.number}")
    for parts in content.objects if grouped else [[shape] for shape in content.shapes if shape.kind not in LINES]:
        words = f"{where}, shape {parts[0].number}"
        if parts[0].label not in numbers:
            entries.count(SHAPES, f"labelled {parts[0].label} left out", words)
            continue
        _add_object(entries, content.path, parts, numbers[parts[0].label], words, size)


def _add_object(entries: ObjectEntries, path: Path, parts: Sequence[Shape], label: int, words: str, size: Size) -> None:
    segmentations = [part for shape in parts if (part := segmentation_of(path, shape, size)) is not None]
    if not segmentations:
        entries.count(SHAPES, "whose mask has no pixel left out", words)
    elif all(isinstance(part, list) for part in segmentations):
        polygons = [polygon for part in segmentations for polygon in part]
        entries.add(label, words, segmentation=polygons, bbox=extent_of(polygons))
    else:
        segmentation, bbox = united(segmentations, size)
        entries.add(label, words, segmentation=segmentation, bbox=bbox)


def _check_image(content: LabelFile, image: Path, size: Size) -> None:
    """Raise DatasetError if a json says that it is of another image, or of an image of another size."""
    if content.size is not None and content.size != size:
        stated = content.size
        raise DatasetError(
            f"{content.path} is of an image of {stated[0]}x{stated[1]}, and {image} has {size[0]}x{size[1]}.",
            "Sizes are height x width, upright by EXIF. Annotate the image as it is, or bring back the one that was.",
        )
    stem = Path(content.image).stem
    if stem and stem.casefold() != image.stem.casefold():
        raise DatasetError(
            f"{content.path} is of the image {content.image} by its imagePath, and has the name of {image.name}.",
            "Give both the same name, or correct imagePath.",
        )


def _labels(root: Path) -> tuple[str, ...]:
    """Return the labels in the jsons of all splits, sorted; class numbers must not depend on the split."""
    return _labels_in(states_of(files_of_images(root, SUFFIXES)))


@lru_cache(maxsize=4)
def _labels_in(files: tuple[FileState, ...]) -> tuple[str, ...]:
    shapes = (shape for path, _, _ in files for shape in read_labelme(path).shapes)
    return tuple(sorted({shape.label for shape in shapes if shape.kind not in LINES}))
