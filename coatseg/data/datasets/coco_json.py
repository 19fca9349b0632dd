"""A dataset of one's own in COCO's format: images, and a json of their objects, or one for each split."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.annotations.formats.coco import read_objects
from coatseg.data.annotations.objects.annotations import ObjectAnnotations
from coatseg.data.annotations.objects.options import ObjectOptions
from coatseg.data.readers.own_objects import OwnObjects
from coatseg.data.readers.windowed_files import WindowSize, windows_of
from coatseg.data.trees.split_paths import SplitPaths, is_of_all, path_of_split
from coatseg.data.trees.splits import HashedSplits
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.registry.names import register

LAYOUT = "Make images/ and annotations.json there, or name them with data.images= and data.annotations=."


@register("dataset", "coco_json")
class CocoJson(OwnObjects):
    """The `split` of a dataset of one's own in COCO's format, under `root`.

    `annotations` is the json of all images, which `splits` parts into train and val, or maps each split to a json of
    its own; these have the same categories. `images` is the folder of the images that the json names, or maps each
    split to one. In either, the word SPLIT stands for the name of the split, as in SPLIT/_annotations.coco.json, and
    val may be called valid or validation, test testing, and train training. Paths are relative to `root`, "." is root
    itself. `options` say which classes are taken, and what crowds and objects without masks are.

    With `window` (height, width) the split "train" is made of random windows, of which an epoch has `windows_per_image`
    of each image; other splits are read whole. With `semantic`, label maps are painted of the objects in their order,
    crowds too, with a background in front of the classes.

    Raises:
        ConfigError: an option that cannot be, or no such split.
        DatasetNotFoundError: `root`, a json or a folder is missing.
        DatasetError: a json that is damaged or does not fit together, an image that is missing, or an empty split.
    """

    facts_in_words = ("by its json", "boxes, instances, or semantic")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        annotations: SplitPaths = "annotations.json",
        images: SplitPaths = "images",
        splits: HashedSplits = HashedSplits(),
        options: ObjectOptions = ObjectOptions(),
        semantic: bool = False,
        window: WindowSize = None,
        windows_per_image: int = 1,
    ) -> None:
        root = Path(root)
        windows = windows_of(window, windows_per_image) if split == "train" else None
        if is_of_all(annotations) and not is_of_all(images):
            raise ConfigError(
                "data.images has a folder for each split, and data.annotations one json for all.",
                "Write data.annotations.train=FILE data.annotations.val=FILE as well.",
            )
        folder = path_of_split(root, "images", images, split)
        path = path_of_split(root, "annotations", annotations, split)
        for place, fits, kind in (
            (root, root.is_dir(), "folder"),
            (path, path.is_file(), "file"),
            (folder, folder.is_dir(), "folder"),
        ):
            if not fits:
                what = f"{place} is no {kind}." if place.exists() else f"There is no {place}."
                raise DatasetNotFoundError(what, LAYOUT)
        objects = read_objects(path, options)
        rows = _rows(objects, split, splits) if is_of_all(annotations) else None
        if not (objects.files if rows is None else rows):
            raise DatasetError(f"The split {split!r} of {path} has no image.", "Add images to it, or split otherwise.")
        super().__init__(root.resolve().name, folder, objects, rows, windows=windows, semantic=semantic)


def _rows(objects: ObjectAnnotations, split: str, splits: HashedSplits) -> list[int]:
    is_in = splits.chooser(split, objects.path)
    stems = (Path(file).with_suffix("").as_posix() for file in objects.files)
    return [row for row, stem in enumerate(stems) if is_in(stem)]
