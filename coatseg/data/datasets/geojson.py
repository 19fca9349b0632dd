"""Images and the GeoJSON files that QuPath exports for them. The layouts are drawn in data/README.md."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from coatseg.data.annotations.formats.geojson import check_pixels, names_in, read_features
from coatseg.data.annotations.objects.entries import ObjectEntries, extent_of
from coatseg.data.annotations.objects.options import ClassChoice, ObjectOptions
from coatseg.data.images.reading import read_size
from coatseg.data.readers.own_objects import OwnObjects
from coatseg.data.readers.windowed_files import WindowSize, windows_of
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
from coatseg.structures import Colour

SUFFIXES = frozenset({".geojson", ".json"})


@register("dataset", "geojson")
class GeoJson(OwnObjects):
    """The `split` of images under `root` and their GeoJSON files, each beside its image or in a folder of its own.

    `files` says where they are, and what an image without one is; the classes are those in the files of all splits,
    sorted, of which `choice` may take some. Objects without a classification are of the class `unclassified`, if one is
    named. With `window` (height, width) the split "train" is made of random windows, of which an epoch has
    `windows_per_image` of each image; other splits are read whole. With `semantic`, label maps are painted of the
    objects in their order, with a background in front of the classes.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: `root` or a folder is missing.
        DatasetError: no such split, an empty one, images without a file, a file that makes no sense or whose
            coordinates are no pixels, an object without a class.
    """

    facts_in_words = ("by its files", "boxes, instances, or semantic")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        files: AnnotationFiles = AnnotationFiles(),
        choice: ClassChoice = ClassChoice(),
        unclassified: str | None = None,
        semantic: bool = False,
        window: WindowSize = None,
        windows_per_image: int = 1,
    ) -> None:
        root = Path(root)
        check_root(root)
        windows = windows_of(window, windows_per_image) if split == "train" else None
        found = annotated_images(root, split, SUFFIXES, files)
        colours = _classes(root)
        names = sorted({*colours, *([] if unclassified is None else [unclassified])})
        entries = ObjectEntries(names)
        for image in found.images:
            _add(entries, image, root, {name: number for number, name in enumerate(names)}, unclassified)
        objects = entries.collected(root, ObjectOptions(classes=choice.classes, leave_out=choice.leave_out))
        super().__init__(
            root.resolve().name,
            root,
            objects,
            colours={name: colour for name, colour in colours.items() if colour},
            lines=(*found.lines, *entries.lines),
            windows=windows,
            semantic=semantic,
        )


def _add(
    entries: ObjectEntries, image: AnnotatedImage, root: Path, numbers: dict[str, int], unclassified: str | None
) -> None:
    size = read_size(image.image, 3)
    entries.add_image(image.id, image.image.relative_to(root).as_posix(), size)
    if image.file is None:
        return
    features = read_features(image.file)
    check_pixels(image.file, features, size)
    where = image.file.relative_to(root).as_posix()
    for feature in features:
        words = f"{where}, feature {feature.number}"
        name = unclassified if feature.name is None else feature.name
        if feature.left_out:
            entries.count(feature.left_out, "left out", words)
        elif name is None:
            raise DatasetError(
                f"{image.file}, feature {feature.number} has no classification.",
                "Classify it in QuPath, or name a class for all such objects: data.unclassified=cell. They are left "
                "out with data.leave_out=[cell] as well.",
            )
        else:
            entries.add(numbers[name], words, segmentation=feature.polygons, bbox=extent_of(feature.polygons))


def _classes(root: Path) -> dict[str, Colour | None]:
    """Map the classes in the files of all splits to their colours; class numbers must not depend on the split."""
    return _classes_in(states_of(files_of_images(root, SUFFIXES)))


@lru_cache(maxsize=4)
def _classes_in(files: tuple[FileState, ...]) -> dict[str, Colour | None]:
    found: dict[str, Colour | None] = {}
    for path, _, _ in files:
        for name, colour in names_in(path).items():
            found[name] = found.get(name) or colour
    return found
