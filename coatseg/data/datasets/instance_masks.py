"""Images and PNG files of object ids, as Penn-Fudan has them. The layouts are drawn in data/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from coatseg.data.annotations.classes import check_class_names, generated_palette
from coatseg.data.annotations.id_maps import masks_of, objects_of
from coatseg.data.datasets.mask_files import check_mask_is_there, check_mask_size
from coatseg.data.datasets.object_files import ObjectFiles
from coatseg.data.datasets.own_splits import OwnTree, Splits, find_pairs
from coatseg.data.images.reading import read_label_map
from coatseg.data.images.same_place import check_same_place
from coatseg.errors import DatasetError, DatasetNotFoundError
from coatseg.registry.names import register
from coatseg.structures import DatasetInfo, Instances, Sample, Size

LAYOUT = "Make train/images, train/masks, val/images and val/masks there, or images and masks alone, or set data.root=."
IDS_PER_CLASS = 1000


@register("dataset", "instance_masks")
class InstanceMasks(ObjectFiles):
    """The `split` of images and id masks under `root`: in a mask 0 is background, and each object has a number.

    `images` and `masks` are the names of the two folders; a mask has the path of its image with `mask_ending` after its
    stem, whatever the suffixes; `splits` says which of them the split has. Of a single class an object may have any
    number; of several, it is 1000 times its class, counted from 1, and a number below 1000.

    Raises:
        ConfigError: an option that cannot be.
        DatasetNotFoundError: `root` or its folders are missing.
        DatasetError: no such split, an empty one, images without a mask, two files of one stem.
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
        classes: Sequence[str] = ("object",),
        splits: Splits = Splits(),
    ) -> None:
        root = Path(root)
        if not root.is_dir():
            raise DatasetNotFoundError(f"There is no folder {root}.", LAYOUT)
        names = check_class_names(classes)
        tree = OwnTree(root, images, masks, "", None, mask_ending)
        found = find_pairs(tree, split, splits)
        self._pairs, self.repairs = found.pairs, found.repairs
        self.info = DatasetInfo(
            name=root.resolve().name,
            classes=names,
            palette=generated_palette(len(names) + 1)[1:],
            annotates=frozenset({"boxes", "instances"}),
            things=tuple(range(len(names))),
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
            ImageError: the mask cannot be read.
            DatasetError: no mask, a colour picture or a JPEG, another size than the image's, an id of no class.
        """
        pair = self._pairs[index]
        check_mask_is_there(pair)
        try:
            ids = read_label_map(pair.mask)
        except DatasetError as error:
            raise DatasetError(error.what, "Save object numbers as an 8- or 16-bit single-channel PNG.") from error
        check_mask_size(pair, ids.shape, size)
        found, boxes = objects_of(ids)
        labels = np.zeros(len(found), np.int64)
        count = len(self.info.classes)
        if count > 1:
            labels = found // IDS_PER_CLASS - 1
            wrong = (labels < 0) | (labels >= count)
            if wrong.any():
                x, y = boxes[wrong.argmax(), :2].astype(int)
                raise DatasetError(
                    f"The mask {pair.mask} has the object {found[wrong.argmax()]}, near (x={x}, y={y}), "
                    "which is of no class.",
                    f"With {count} classes an object is {IDS_PER_CLASS} times its class, 1 to {count}, and a number "
                    f"below {IDS_PER_CLASS}.",
                )
        return Instances(boxes, labels, masks_of(ids, found, boxes), np.zeros(len(found), bool))
