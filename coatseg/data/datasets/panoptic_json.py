"""A dataset of one's own in COCO's panoptic format: images, PNG files of segments, and a json for all or each split."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.annotations.objects.mended_boxes import repair_line
from coatseg.data.annotations.panoptic import PanopticAnnotations, read_annotations
from coatseg.data.annotations.segment_maps import WithoutPixels
from coatseg.data.readers.panoptic_files import JsonSegments
from coatseg.data.trees.image_names import NAMES, ImageFolder
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.data.trees.split_paths import SplitPaths, is_of_all, path_of_split
from coatseg.data.trees.splits import HashedSplits
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.registry.names import register

LAYOUT = (
    "Make images/, panoptic.json and panoptic/ there, which holds the PNG files, or name them with data.images=, "
    "data.annotations= and data.masks=."
)


@register("dataset", "panoptic_json")
class PanopticJson(JsonSegments):
    """The `split` of a dataset of one's own in COCO's panoptic format, under `root`: segments, and label maps of them.

    `annotations` is the json of all images, which `splits` parts into train and val, or maps each split to a json of
    its own; these have the same categories. `images` is the folder of the images that the json names, and `masks` that
    of the PNG files of segments, or each maps every split to one. In all three the word SPLIT stands for the name of
    the split, as in panoptic_SPLIT.json, and val may be called valid or validation, test testing, and train training.
    Paths are relative to `root`, "." is root itself. A sample has the id that its image has in the json; images
    without annotations are left out and counted.

    With `instances` things are objects with masks too. A segment of the json that no pixel has stops the run, is left
    out, or is kept and counted as missed, by `without_pixels`.

    Raises:
        ConfigError: an option that cannot be, or no such split.
        DatasetNotFoundError: `root`, a json or a folder is missing.
        DatasetError: a json that is damaged or does not fit together, an image that is missing, or an empty split.
    """

    facts_in_words = ("by its json", "semantic, panoptic, instances on request")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        annotations: SplitPaths = "panoptic.json",
        images: SplitPaths = "images",
        masks: SplitPaths = "panoptic",
        splits: HashedSplits = HashedSplits(),
        instances: bool = False,
        without_pixels: WithoutPixels = "stop",
    ) -> None:
        root = Path(root)
        if is_of_all(annotations) and not (is_of_all(images) and is_of_all(masks)):
            raise ConfigError(
                "data.images or data.masks has a folder for each split, and data.annotations one json for all.",
                "Write data.annotations.train=FILE data.annotations.val=FILE as well.",
            )
        stated = {"annotations": annotations, "images": images, "masks": masks}
        path, folder, pngs = (path_of_split(root, option, paths, split) for option, paths in stated.items())
        for place, is_there in (
            (root, root.is_dir),
            (path, path.is_file),
            (folder, folder.is_dir),
            (pngs, pngs.is_dir),
        ):
            if not is_there():
                role = ", which names the segments of the PNG files" if place == path else ""
                raise DatasetNotFoundError(
                    f"There is no {'file' if place == path else 'folder'} {place}{role}.", LAYOUT
                )
        read = read_annotations(path)
        chosen = splits.chooser(split, path) if is_of_all(annotations) else None
        rows = [row for row, (image, _) in enumerate(read.files) if chosen is None or chosen(_stem(image))]
        if not rows:
            raise DatasetError(f"The split {split!r} of {path} has no image.", "Add images to it, or split otherwise.")
        found = ImageFolder(folder).find([read.files[row][0] for row in rows], path)
        self.repairs = (*found.repairs, *_left_out(read))
        pairs = [
            MaskedImage(read.image_ids[row], folder / file, pngs / read.files[row][1])
            for row, file in zip(rows, found.files, strict=True)
        ]
        super().__init__(root.resolve().name, read, pairs, pngs, instances=instances, without_pixels=without_pixels)


def _stem(image: str) -> str:
    return Path(image).with_suffix("").as_posix()


def _left_out(read: PanopticAnnotations) -> tuple[str, ...]:
    return (repair_line(NAMES, len(read.bare), "without annotations left out", read.bare[0]),) if read.bare else ()
