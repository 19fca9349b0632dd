"""Images and files of object numbers or colours, as Penn-Fudan, KITTI and annotation tools have them.

The layouts are drawn in data/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from coatseg.data.annotations.class_maps import class_maps
from coatseg.data.annotations.classes import check_class_names, generated_palette, read_classes
from coatseg.data.annotations.id_maps import masks_of, objects_of
from coatseg.data.annotations.numbered_objects import IGNORED, MIXED, ClassNumbers, labels_of_map
from coatseg.data.annotations.objects.options import ClassChoice
from coatseg.data.images.reading import read_image, read_label_map
from coatseg.data.images.statements.same_place import check_same_place
from coatseg.data.readers.mask_files import check_mask_is_there, check_mask_size
from coatseg.data.readers.object_files import ObjectFiles
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.data.trees.pairs import OwnTree
from coatseg.data.trees.splits import Splits, find_pairs
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt
from coatseg.structures import DatasetInfo, Instances, Pixels, Sample, Size

LAYOUT = "Make train/images, train/masks, val/images and val/masks there, or images and masks alone, or set data.root=."
IDS_PER_CLASS = 1000
NUMBERS_FORMAT = (
    "Save object numbers as an 8- or 16-bit single-channel PNG, or, where objects have colours, name the folder of the "
    "masks of classes with data.class_masks=."
)


@register("dataset", "instance_masks")
class InstanceMasks(ObjectFiles):
    """The `split` of images and id masks under `root`: in a mask 0 is background, and each object has a number.

    `images` and `masks` are the names of the two folders; a mask has the path of its image with `mask_ending` after its
    stem, whatever the suffixes; an image without one stops, or is left out and counted, by `without_annotation`.
    `splits` says which of them the split has.

    `classes` are named, or are those of a classes file. Of a single class an object may have any number; of several, it
    is `ids_per_class` times its class, counted from 1, and a number below. With `class_ids` the classes have these
    numbers instead, objects of others are background, and the number 0 of a class marks a region of it that was not
    parted, which is crowd: KITTI's have 256 `ids_per_class`. With `class_masks`, a folder beside that of the masks,
    masks paint each object in a number or colour of its own, black none, and the class is what the mask of classes has
    there: the colour that the classes file gives it, or its number from 1 on where classes are listed. Objects of the
    classes in `leave_out` are left out.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: `root` or its folders are missing.
        DatasetError: no such split, an empty one, images without a mask, two files of one stem, a bad classes file.
    """

    facts_in_words = ("your own", "boxes, instances")

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        images: str = "images",
        masks: str = "masks",
        mask_ending: str = "",
        without_annotation: Literal["stop", "leave_out"] = "stop",
        classes: str | Sequence[str] = ("object",),
        leave_out: Sequence[str] = (),
        ids_per_class: PositiveInt = IDS_PER_CLASS,
        class_ids: Sequence[int] | None = None,
        class_masks: str | None = None,
        splits: Splits = Splits(),
    ) -> None:
        root = Path(root)
        if not root.is_dir():
            raise DatasetNotFoundError(f"There is no folder {root}.", LAYOUT)
        self._maps = None if class_masks is None else class_maps(classes, root)
        listed = read_classes(root / classes).names if isinstance(classes, str) else classes
        names = check_class_names(self._maps.names if self._maps else listed)
        self._numbers = _class_numbers(names, ids_per_class, class_ids, class_masks)
        chosen = ClassChoice(leave_out=leave_out).chosen(names, "data.classes")
        self._labels = chosen.labels
        tree = OwnTree(root, images, masks, mask_ending=mask_ending, leave_out=without_annotation == "leave_out")
        found = find_pairs(tree, split, splits)
        self._pairs, self.repairs = found.pairs, found.repairs
        if leave_out:
            self.repairs += (f"objects of {', '.join(leave_out)} left out, by data.leave_out",)
        self._class_masks: dict[str, Path] = {}
        if class_masks is not None:
            of_classes = find_pairs(replace(tree, masks=class_masks), split, splits)
            self._class_masks = {pair.id: pair.mask for pair in of_classes.pairs}
            self._pairs = tuple(pair for pair in self._pairs if pair.id in self._class_masks)
            self.repairs = tuple(dict.fromkeys((*self.repairs, *of_classes.repairs)))
        palette = self._maps.palette if self._maps and self._maps.palette else generated_palette(len(names) + 1)[1:]
        self.info = DatasetInfo(
            name=root.resolve().name,
            classes=chosen.names,
            palette=tuple(palette[place] for place in chosen.places.tolist()),
            annotates=frozenset({"boxes", "instances"}),
            things=tuple(range(len(chosen.names))),
        )

    def __len__(self) -> int:
        return len(self._pairs)

    def image_of(self, index: int) -> tuple[str, Path]:
        """Return the id of a sample and the file of its image."""
        return self._pairs[index].id, self._pairs[index].image

    def verify(self, index: int) -> Sample:
        """Return sample `index`, or raise what is wrong with it.

        Raises:
            ImageError, DatasetError: as reading does; or image and mask are GeoTIFFs of different places.
        """
        sample, pair = super().verify(index), self._pairs[index]
        check_same_place(pair.image, pair.mask, sample.original_size)
        return sample

    def instances_of(self, index: int, size: Size) -> Instances:
        """Read the objects of a sample.

        Raises:
            ImageError: a mask cannot be read.
            DatasetError: no mask, a colour picture or a JPEG, another size than the image's, an id of no class.
        """
        pair = self._pairs[index]
        check_mask_is_there(pair)
        ids = _read_ids(pair.mask, in_colours=self._maps is not None)
        check_mask_size(pair, ids.shape, size)
        found, boxes = objects_of(ids)
        if self._maps is None:
            labels, crowd = self._numbers.labels(found), self._numbers.crowd(found)
        else:
            of_classes = replace(pair, mask=self._class_masks[pair.id])
            classes = self._maps(of_classes.mask)
            check_mask_size(of_classes, classes.shape, size)
            labels, crowd = labels_of_map(ids, found, classes), np.zeros(len(found), bool)
        if (labels < IGNORED).any():
            number = int((labels < IGNORED).argmax())
            raise self._wrong(pair, int(found[number]), boxes[number].astype(int), several=labels[number] == MIXED)
        labels = np.where(labels < 0, IGNORED, self._labels[labels])
        kept = labels >= 0
        return Instances(boxes[kept], labels[kept], masks_of(ids, found[kept], boxes[kept]), crowd[kept])

    def _wrong(self, pair: MaskedImage, number: int, box: Pixels, *, several: bool) -> DatasetError:
        count, per_class = self._numbers.count, self._numbers.per_class
        what = f"The mask {pair.mask} has the object {number}, near (x={box[0]}, y={box[1]}), which is of "
        if self._maps is None:
            return DatasetError(
                f"{what}no class.",
                f"With {count} classes an object is {per_class} times its class, 1 to {count}, and a number "
                f"below {per_class}.",
            )
        return DatasetError(
            f"{what}{'several classes' if several else 'no class'} in {self._class_masks[pair.id]}.",
            "Export both masks from one state of the annotations, each object of one class.",
        )


def _class_numbers(
    names: Sequence[str], per_class: int, class_ids: Sequence[int] | None, class_masks: str | None
) -> ClassNumbers:
    """Return how numbers tell classes; raises ConfigError if the options do not go together."""
    if class_ids is None:
        return ClassNumbers(len(names), per_class)
    if class_masks is not None:
        raise ConfigError("data.class_ids and data.class_masks both tell classes.", "Leave one of them out.")
    if len(class_ids) != len(names) or len(set(class_ids)) < len(names) or min(class_ids) < 0:
        raise ConfigError(
            f"data.class_ids={list(class_ids)} does not fit the classes {', '.join(names)}.",
            "Write the number that each class has in the files, from 0 on, in the order of data.classes.",
        )
    return ClassNumbers(len(names), per_class, tuple(class_ids))


def _read_ids(path: Path, *, in_colours: bool) -> Pixels:
    """Read a map (H, W) of object numbers; of a picture `in_colours` those are R + 256 G + 65536 B."""
    try:
        return read_label_map(path, ignore_index=0)  # nodata is no object
    except DatasetError as error:
        if not in_colours or path.suffix.lower() in (".jpg", ".jpeg"):
            raise DatasetError(error.what, NUMBERS_FORMAT) from error
    pixels = read_image(path, channels=3).astype(np.int32)
    return np.asarray(pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2])
